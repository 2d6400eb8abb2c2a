"""`freshet why`: the condition as it stands, the events behind it, what holds it up; over the socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from tests.engine.rig import Duration, rig
from tests.support.served import served_engine

from freshet import AutomationCondition, DynamicPartitions, Freshness, RunRequest, asset, schedule, sensor

EAGER = AutomationCondition.eager()
BATCHES = DynamicPartitions("batches")


@asset(partitions=BATCHES)
def raw() -> int:
    return 1


@asset(partitions=BATCHES, automation=EAGER)
def clean(raw: int) -> int:
    return raw


@asset(automation=EAGER)
def sales(clean: dict[str, int]) -> int:
    return sum(clean.values())


def lasting(seconds: float) -> Duration:
    """All steps take so long."""
    return lambda step: seconds


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node["children"]:
        yield from walk(child)


def named(answer: Any, name: str, asset: str | None = None) -> dict[str, Any]:
    """The node of that label or expression."""
    nodes = [one for one in walk(answer["tree"]) if name in (one["label"], one["expression"])]
    return next(one for one in nodes if asset in (None, one["asset"]))


def test_what_is_missing_and_what_would_be_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served_engine(tmp_path, [raw, clean, sales], capsys) as one:
        one.cli("partitions", "batches", "add", "a", "b")
        one.advance(60)
        found = one.cli("--json", "why", "clean", "--partition", "a").json
        assert (found["partition"], found["state"], found["run"], found["tree"]["value"]) == (
            "a",
            "missing",
            None,
            False,
        )
        assert found["needs"] == ["raw holds it back no longer"]
        (above,) = found["dependencies"]
        assert (above["asset"], above["holds"], above["missing"]) == ("raw", "hard", {"count": 1, "keys": ["a"]})
        added = named(found, "newly_missing")["event"]
        assert (added["type"], added["at"]) == ("partition_added", found["added_at"])
        assert found["now"] - found["added_at"] == 60
        assert named(found, "updated")["value"] and named(found, "updated")["event"] == added
        said = one.cli("why", "clean", "-p", "a").out
        assert "never asked for, added 1m ago" in said and "raw: missing; holds back" in said
        assert one.cli("--json", "why", "clean").json["partition"] == "b"  # the newest


def test_the_event_that_made_it_so_and_the_run_that_came_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served_engine(tmp_path, [raw, clean], capsys, duration=lasting(10.0)) as one:
        one.cli("partitions", "batches", "add", "a", "b")
        one.cli("materialize", "raw", "--partition", "a")
        one.advance(15)
        found = one.cli("--json", "why", "clean", "-p", "a").json
        updated = named(found, "newly_updated", "raw")["event"]
        assert (updated["type"], updated["run_id"], found["now"] - updated["at"]) == ("materialized", 1, 5.0)
        assert (found["run"]["id"], found["run"]["origin"], found["state"]) == (2, "automation", "in_progress")
        begun = named(found, "in_progress")
        assert begun["value"] and (begun["event"]["type"], begun["event"]["run_id"]) == ("started", 2)
        assert found["run"]["condition"] == found["condition"] and found["earlier"] is None
        assert found["needs"] == ["raw is materialized and no run of clean is queued or running"]
        assert "run 2 started  asked for by automation 5s ago" in one.cli("why", "clean", "-p", "a").out


def test_how_many_of_how_many_are_there_and_until_when_it_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = {"c"}

    @asset(partitions=BATCHES)
    def raw(ctx: Any) -> int:
        if ctx.partition.key in failing:
            raise ValueError("not today")
        return 1

    @asset(automation=EAGER)
    def total(raw: dict[str, int]) -> int:
        return len(raw)

    with served_engine(tmp_path, [raw, total], capsys, duration=lasting(40.0), workers=4) as one:
        one.cli("partitions", "batches", "add", "a", "b", "c", "d")
        for key in "abc":
            one.cli("materialize", "raw", "--partition", key)
            one.advance(10)
        one.advance(12)  # a is made, b and c are under way
        found = one.cli("--json", "why", "total").json
        (above,) = found["dependencies"]
        assert (above["named"], above["materialized"], above["holds"]) == (4, 1, "hard")
        assert (above["moving"]["keys"], above["missing"]["keys"]) == (["b", "c"], ["d"])
        one.cli("materialize", "raw", "--partition", "d")
        found = one.cli("--json", "why", "total").json
        (above,) = found["dependencies"]
        assert (above["holds"], above["moving"]["count"]) == ("soft", 3)
        (waiting,) = [node for node in walk(found["tree"]) if node["until"] is not None]
        assert waiting["since"] is not None and 59 < waiting["until"] - found["now"] <= 61
        assert found["needs"] == ["raw holds it back no longer"]
        out = one.cli("why", "total").out
        assert (
            "waits until in 1m" in out and "1 of 4 materialized, 3 on their way (b, c, d); holds back for a time" in out
        )
        one.advance(50)
        (above,) = one.cli("--json", "why", "total").json["dependencies"]
        assert (above["failed"], above["holds"]) == ({"count": 1, "keys": ["c"]}, None)


def test_what_is_queued_says_what_blocks_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @asset
    def first() -> int:
        return 1

    @asset(automation=EAGER)
    def second(first: int) -> int:
        return first

    @asset(automation=EAGER)
    def third(second: int) -> int:
        return second

    with served_engine(tmp_path, [first, second, third], capsys, duration=lasting(10.0), workers=1) as one:
        one.cli("materialize", "first")
        one.cli("materialize", "first")
        waits = "waits until run 1 does not make first any more"
        assert one.cli("--json", "why", "first").json["run"]["blocked_by"] == waits
        one.advance(25)
        assert one.cli("--json", "why", "third").json["run"]["blocked_by"] == "waits for second in the same run"
        assert "waits for second in the same run" in one.cli("why", "third").out


def test_an_asset_without_a_condition_is_made_by_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @asset
    def one_off() -> int:
        return 1

    @asset
    def nobodys() -> int:
        return 1

    @schedule(every="1h", target="one_off")
    def hourly() -> None: ...

    @sensor(interval="1h", target="one_off")
    def watcher(ctx: Any) -> Iterator[RunRequest]:
        yield RunRequest(run_key="once")

    with served_engine(tmp_path, [one_off, nobodys, hourly, watcher], capsys) as one:
        one.cli("pause", "watcher")
        found = one.cli("--json", "why", "one_off").json
        assert found["tree"] is None and found["condition"] is None and found["needs"] == []
        assert [(made["kind"], made["name"], made["status"]) for made in found["makers"]] == [
            ("sensor", "watcher", "paused"),
            ("schedule", "hourly", "ok"),
        ]
        assert found["run"]["origin"] == "sensor:watcher"
        said = one.cli("why", "one_off").out
        assert "the sensor watcher asks for it  paused" in said and "the schedule hourly asks for it  ok" in said
        assert "freshet materialize does" in one.cli("why", "nobodys").out


def test_attempts_at_a_lapse_that_are_exhausted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @asset(freshness=Freshness(within="1m"), automation=AutomationCondition.on_lapse(attempts=2, delay="10s"))
    def stale() -> int:
        raise ValueError("no")

    with served_engine(tmp_path, [stale], capsys) as one:
        one.advance(65)
        backing_off = named(one.cli("--json", "why", "stale").json, "lapse_unserved(2, 10s)")
        assert backing_off["attempts"] == [1, 2] and backing_off["until"] is not None
        assert backing_off["event"]["type"] == "freshness_lapsed"
        one.advance(600)
        found = one.cli("--json", "why", "stale").json
        assert named(found, "lapse_unserved(2, 10s)")["attempts"] == [2, 2] and found["state"] == "failed"
        assert "2 of 2 attempts failed, exhausted" in one.cli("why", "stale").out


@pytest.mark.anyio
async def test_a_run_says_under_which_condition_it_was_asked_for(tmp_path: Path) -> None:
    @asset
    def first() -> int:
        return 1

    def below(condition: AutomationCondition) -> Any:
        @asset(automation=condition)
        def second(first: int) -> int:
            return first

        return second

    old, new = EAGER, AutomationCondition.on_missing()
    async with rig(tmp_path, [first, below(old)]) as one:
        await one.control.materialize(["first"])
        await one.settle()
        view = await one.control.why("second")
        assert view.run is not None and view.run.condition == view.condition and view.earlier is None
    async with rig(tmp_path, [first, below(new)]) as one:
        view = await one.control.why("second")
        assert view.run is not None and view.run.condition != view.condition
        assert view.earlier == str(old)


def test_names_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served_engine(tmp_path, [raw, clean, sales], capsys) as one:
        assert "freshet partitions batches" in one.cli("why", "clean").err
        one.cli("partitions", "batches", "add", "north", "south")
        for argv, said in (
            (["why", "cleen"], "did you mean 'clean'?"),
            (["why", "clean", "-p", "nort"], "did you mean 'north'?"),
            (["why", "sales", "-p", "north"], "has no partitions"),
        ):
            answer = one.cli(*argv)
            assert answer.status == 1 and said in answer.err


def test_a_line_fits_the_terminal_and_a_pipe_gets_it_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"a-rather-long-name-of-a-batch-{number:06}" for number in range(40)]
    with served_engine(tmp_path, [raw, clean, sales], capsys, duration=lasting(5.0)) as one:
        one.cli("partitions", "batches", "add", *keys)
        one.cli("materialize", "raw", "--partition", keys[3])
        one.advance(12)
        whole = one.cli("why", "sales").out
        assert "…" not in whole and f"{', '.join(keys[-5:])}); holds back\n" in whole
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", "100")
        said = [Text.from_ansi(one.cli("why", *argv).out).plain for argv in (["sales"], ["clean", "-p", keys[3]])]
        assert max(len(line) for text in said for line in text.splitlines()) <= 100 and "…\n" in said[0]
