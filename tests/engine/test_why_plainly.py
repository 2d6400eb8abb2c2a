"""`freshet why` answers what is asked first: how fresh it is, what went wrong, and when it comes again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine.test_why import named
from tests.support.served import ServedEngine, served_engine

from freshet import (
    AutomationCondition,
    DynamicPartitions,
    Freshness,
    RunRequest,
    asset,
    check,
    external_asset,
    schedule,
    sensor,
)
from freshet.cli.freshness import freshness_text
from freshet.http.models import AssetAnswer

C = AutomationCondition
SHOPS = DynamicPartitions("shops")

orders = external_asset("orders", freshness=Freshness(within="1h", warn="30m"))
stock = external_asset("stock", partitions=SHOPS, freshness=Freshness(within="1h", per_partition=True))


def test_how_fresh_it_is_and_who_reports_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served_engine(tmp_path, [orders, stock], capsys) as one:
        one.cli("partitions", "shops", "add", "a")
        one.advance(1200)
        one.cli("report", "orders")
        one.cli("partitions", "shops", "add", "b")
        said = one.cli("why", "orders").out
        assert "fresh, lapses in 1h" in said
        assert "made by something else: freshet report orders says so" in said and "freshet materialize" not in said
        assert "\nreported now (" in one.cli("why", "orders").out
        one.advance(2400)
        assert "warn, lapses in 20m" in one.cli("why", "orders").out
        assert "\nreported 40m ago (" in one.cli("why", "orders").out
        assert one.cli("--json", "why", "stock", "-p", "a").json["freshness"]["state"] == "lapsed"
        assert "lapsed now" in one.cli("why", "stock", "-p", "a").out
        assert "fresh, lapses in 20m" in one.cli("why", "stock", "-p", "b").out
        one.advance(1800)
        found = one.cli("--json", "why", "orders").json
        assert found["freshness"] == {"state": "lapsed", "deadline": found["now"] - 600.0}
        assert "lapsed 10m ago" in one.cli("why", "orders").out


def test_what_lapsed_stays_so_though_its_deadline_has_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served_engine(tmp_path, [orders], capsys) as one:
        one.advance(4000)
        clock = one.rig.clock
    longer = external_asset("orders", freshness=Freshness(within="1d"))
    with served_engine(tmp_path, [longer], capsys, clock=clock) as one:
        assert one.cli("--json", "why", "orders").json["freshness"] == {"state": "lapsed", "deadline": None}
        shown = AssetAnswer.model_validate(one.cli("--json", "assets", "orders").json)
        assert freshness_text(shown, clock.now()).plain == "never made, lapsed"


def test_when_an_instant_comes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @asset(automation=C.on_cron("0 * * * *"))
    def hourly() -> int:
        return 1

    with served_engine(tmp_path, [hourly], capsys) as one:
        one.advance(3600)
        found = one.cli("--json", "why", "hourly").json
        tick = named(found, "cron_tick_passed('0 * * * *', 'UTC')")
        assert 0 < tick["until"] - found["now"] <= 3600 and tick["until"] % 3600 == 0
        assert found["needs"] == ["the next instant of '0 * * * *', 'UTC' comes"]
        assert "cron_tick_passed('0 * * * *', 'UTC')  waits until in " in one.cli("why", "hourly").out


def test_a_pause_is_waited_for_and_no_longer_than_it_may(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @asset(deps=[orders], automation=C.any_deps_updated().since_last_handled().debounce("10s", max_wait="25s"))
    def calm() -> int:
        return 1

    with served_engine(tmp_path, [orders, calm], capsys) as one:
        for left in (10, 10, 9, 1):  # at 0, 8, 16 and 24 s
            one.cli("report", "orders")
            found = one.cli("--json", "why", "calm").json
            assert found["tree"]["until"] - found["now"] == pytest.approx(left, abs=0.5)
            one.advance(8)
        assert one.cli("--json", "why", "calm").json["state"] == "materialized"


def test_what_failed_says_how_and_what_helps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @asset(freshness=Freshness(within="1m"), automation=C.on_lapse(attempts=2, delay="10s"))
    def stale() -> int:
        raise ValueError("the exchange\nis closed")

    @asset(automation=C.missing())
    def lone() -> int:
        raise ValueError("no")

    with served_engine(tmp_path, [stale, lone], capsys) as one:
        said = one.cli("why", "lone").out
        assert "condition" in said and "it was asked for when this became true" in said
        one.advance(65)
        assert one.cli("--json", "why", "stale").json["needs"] == ["it is time for the next attempt at stale"]
        one.advance(600)
        said = one.cli("why", "stale").out
        assert "ValueError: the exchange" in said
        assert one.cli("--json", "why", "stale").json["needs"] == [
            "stale is made by hand, or an asset above it lapses: its attempts are used up"
        ]


def test_a_report_of_long_ago_has_lapsed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the machine was started, before 1970, before there were calendars."""
    daily = external_asset("daily", freshness=Freshness(cron="0 6 * * *", window="2h"))
    each = external_asset(
        "each", partitions=SHOPS, freshness=Freshness(cron="0 6 * * *", window="2h", warn="1h", per_partition=True)
    )
    with served_engine(tmp_path, [daily, each, stock], capsys) as one:
        one.cli("partitions", "shops", "add", "a")
        for name, *of in (["daily"], ["each", "-p", "a"], ["stock", "-p", "a"]):
            said = one.cli("report", name, *of, "--at", "0001-01-01T00:00:00Z")
            assert (said.status, said.out) == (0, f"{' '.join([name, *of[1:]])}: reported\n"), said.err
            assert f"{name}" in one.cli("assets").out
        assert one.cli("--json", "why", "stock").json["freshness"]["state"] == "lapsed"
        assert "\nlapsed " in one.cli("why", "stock").out
        for name in ("daily", "each"):  # by an instant before it had a policy nothing can be late
            assert "\nfresh, lapses in 6h" in one.cli("why", name).out


def test_what_a_join_and_a_choice_are_about_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @asset(
        deps=[orders, stock],
        automation=C.asset_matches("late", C.newly_updated()) | C.any_deps_updated().ignore("stock"),
    )
    def made() -> int:
        return 1

    with served_engine(tmp_path, [made, orders, stock, external_asset("late")], capsys) as one:
        said = one.cli("why", "made").out
        assert "asset_matches('late')\n" in said and "late: newly_updated" in said
        assert "any_deps_updated.ignore('stock')\n" in said and "orders: newly_updated" in said
        assert "stock: newly_updated" not in said


def test_what_blocking_checks_hold_says_which_and_what_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that is canceled before its check has looked leaves what it made held: nobody has said that it is good."""
    values = {"a": 1, "b": -1}

    @asset(partitions=SHOPS)
    def takings(ctx: Any) -> int:
        return values[ctx.partition.key]

    @asset(partitions=SHOPS, automation=C.eager())
    def below(takings: int) -> int:
        return takings

    @check(asset=takings, blocking=True)
    def positive(takings: int) -> bool:
        return takings > 0

    def lasting(step: Any) -> float:
        return 10.0 if step.name == "takings.positive" else 1.0

    def held(one: ServedEngine, key: str) -> str:
        return next((line for line in one.cli("why", "takings", "-p", key).out.splitlines() if "held back" in line), "")

    with served_engine(tmp_path, [takings, below, positive], capsys, duration=lasting) as one:
        one.cli("partitions", "shops", "add", "a", "b")
        one.cli("materialize", "takings", "-p", "a")
        one.advance(5)
        said = "held back from those below: the check positive "
        assert held(one, "a") == f"{said}is still to look at it, in run 1"
        one.cli("cancel", "1")
        one.advance(60)
        assert held(one, "a") == f"{said}has not looked at it; freshet verify takings -p a lets it look"
        of_takings = ["--json", "partitions", "shops", "--asset", "takings", "--state", "held"]
        assert [found["key"] for found in one.cli(*of_takings).json["partitions"]] == ["a"]
        assert one.cli("--json", "why", "below", "-p", "a").json["state"] == "missing"
        assert "takings: materialized, held by its checks (freshet why takings -p a); holds back" in (
            one.cli("why", "below", "-p", "a").out
        )
        one.cli("verify", "takings", "-p", "a")
        one.advance(60)
        assert held(one, "a") == ""
        assert one.cli("--json", "why", "below", "-p", "a").json["state"] == "materialized"
        one.cli("materialize", "takings", "-p", "b")
        one.advance(60)
        assert held(one, "b").startswith(f"{said}failed 49s ago (")
        assert held(one, "b").endswith("in run 4; freshet verify takings -p b lets it look")
        assert "CheckFailed: the blocking check" in one.cli("why", "takings", "-p", "b").out


def test_who_asks_for_it_and_fails_says_of_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @asset
    def fetched() -> int:
        return 1

    @sensor(interval="10s", target="fetched")
    def watcher(ctx: Any) -> Iterator[RunRequest]:
        if ctx.cursor is None:
            raise ConnectionError("no such host")
        yield RunRequest()

    @schedule(every="1h", target="fetched")
    def hourly() -> None: ...

    with served_engine(tmp_path, [fetched, watcher, hourly], capsys) as one:
        one.advance(5)
        assert "the sensor watcher asks for it  failing: " in one.cli("why", "fetched").out
        assert "ConnectionError: no such host\n" in one.cli("why", "fetched").out
        one.cli("pause", "hourly")
        assert "the schedule hourly asks for it  paused; freshet resume hourly lets it go on" in (
            one.cli("why", "fetched").out
        )


def test_what_was_reported_since_its_last_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @asset
    def both() -> int:
        return 1

    with served_engine(tmp_path, [both], capsys) as one:
        one.cli("materialize", "both")
        one.advance(60)
        assert "\nreported" not in one.cli("why", "both").out
        one.cli("report", "both")
        one.advance(60)
        said = one.cli("why", "both").out
        assert "\nreported 1m ago (" in said and "\nrun 1 succeeded" in said
        one.cli("materialize", "both")
        one.settle()
        assert "\nreported" not in one.cli("why", "both").out
