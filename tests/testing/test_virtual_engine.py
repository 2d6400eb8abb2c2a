"""`freshet.testing.engine`: a plugin in virtual time, from the outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from freshet import (
    AddPartitions,
    AutomationCondition,
    DynamicPartitions,
    Freshness,
    asset,
    external_asset,
    job,
    resource,
    schedule,
    sensor,
)
from freshet.errors import DefinitionError, DurationError, UnknownName
from freshet.testing import VirtualEngine, engine, plugin

batches = DynamicPartitions("batches")
orders = external_asset("orders")


@sensor(interval="10m")
def landing(ctx: Any) -> Iterator[AddPartitions]:
    ctx.cursor = (ctx.cursor or 0) + 1
    if ctx.cursor <= 2:
        yield AddPartitions(batches, {f"b{ctx.cursor}": {"rows": ctx.cursor}})


@asset(partitions=batches, automation=AutomationCondition.eager())
def raw(ctx: Any) -> int:
    return int(ctx.partition.metadata["rows"])


@resource
def factor() -> int:
    return 10


@asset(automation=AutomationCondition.eager())
async def total(raw: dict[str, int], factor: int) -> int:
    return sum(raw.values()) * factor


@asset(freshness=Freshness(within="1h"), automation=AutomationCondition.on_lapse())
def pulse() -> float:
    return 1.0


@job
def greet(name: str) -> None:
    if name == "nobody":
        raise ValueError("there is nobody")


@schedule(cron="0 6 * * *", target=greet, params={"name": "you"})
def morning() -> None: ...


EVERYTHING = [batches, orders, landing, raw, factor, total, pulse, greet, morning]


def test_sensors_look_and_what_follows_is_made() -> None:
    with engine(EVERYTHING) as river:
        assert river.now == datetime(2026, 1, 1, tzinfo=UTC)
        river.advance(timedelta(minutes=25))
        assert river.sensor("landing").cursor in (2, 3)
        assert river.partitions("batches") == {"b1": {"rows": 1}, "b2": {"rows": 2}}
        assert river.values("raw") == {"b1": 1, "b2": 2}
        assert river.value("raw", "b2") == 2
        assert river.value("total") == 30
        assert river.now == datetime(2026, 1, 1, 0, 25, tzinfo=UTC)


def test_schedules_fire_and_freshness_lapses() -> None:
    with engine(EVERYTHING, timezone="Europe/Berlin", now=datetime(2026, 3, 28, 12, tzinfo=UTC)) as river:
        river.advance("16h30m")
        (fired,) = river.runs("greet")
        assert datetime.fromtimestamp(fired.created_at, UTC) == datetime(2026, 3, 29, 4, tzinfo=UTC), "6:00 summer time"
        assert len(river.events("freshness_lapsed")) == len(river.runs("pulse")) == 16


def test_a_month_is_let_pass_by_hand() -> None:
    began = time.monotonic()
    with engine([greet, morning]) as river:
        river.advance("31d")
        assert len(river.runs("greet")) == 31
        assert time.monotonic() - began < timedelta(days=1).total_seconds(), "no time has passed"


def test_by_hand() -> None:
    with engine(EVERYTHING) as river:
        assert river.call("greet", name="me").state == "succeeded"
        failed = river.call("greet", name="nobody")
        assert failed.state == "failed"
        assert "there is nobody" in str(failed.steps[0].error)
        river.add_partitions("batches", "b9", metadata={"rows": 9})
        (made,) = river.materialize("raw", partition="b9")
        assert (made.state, made.key) == ("succeeded", "b9")
        dry = river.tick("landing", dry_run=True)
        assert (dry.dry_run, dry.cursor) == (True, 2)
        assert river.tick("landing").status == "ok"
        river.report("orders", metadata={"rows": 3})
        assert [one.asset for one in river.events("materialized") if one.data][-1] == "orders"
        assert river.do(lambda control: control.why("total")).asset == "total"


def test_steps_last_as_long_as_is_said() -> None:
    with engine(EVERYTHING, durations={"greet": "10m"}) as river:
        assert river.call("greet", name="me").state == "started"
        river.advance("9m")
        assert river.states("greet") == ["started"]
        river.advance("2m")
        assert river.states("greet") == ["succeeded"]


def test_what_is_wrong_is_told() -> None:
    with engine([pulse]) as river:
        with pytest.raises(UnknownName, match=r"there is no asset 'puls'.*did you mean 'pulse'"):
            river.value("puls")
        with pytest.raises(UnknownName, match="there is no value of 'pulse'"):
            river.value("pulse")
        with pytest.raises(UnknownName, match="there is no sensor"):
            river.sensor("landing")
        with pytest.raises(UnknownName, match="there is no run 7"):
            river.run(7)
        with pytest.raises(DurationError, match="'soon' is not a duration"):
            river.advance("soon")
    with pytest.raises(DefinitionError, match="total"), engine([total]):
        pass


def test_within_a_loop_that_runs() -> None:
    async def main() -> list[str]:
        with engine([greet]) as river:
            river.call("greet", name="me")
            return list(river.states())

    assert asyncio.run(main()) == ["succeeded"]


def test_a_failing_test_leaves_nothing_running() -> None:
    import threading

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), engine([pulse]):
        raise ZeroDivisionError
    assert threading.active_count() == before


def _use(river: VirtualEngine) -> object:
    river.advance("2h")
    return river.value("made")


def test_a_file_is_loaded_with_all_that_it_declares(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("TEXT = 'helped'\n")
    (tmp_path / "csv.py").write_text(
        "import csv\n"
        "from freshet import AutomationCondition, Freshness, Schedule, asset, job\n"
        "from helper import TEXT\n"
        "assert csv.DictReader, 'the library, not this plugin'\n"
        "@asset(freshness=Freshness(within='1h'), automation=AutomationCondition.on_lapse())\n"
        "def made() -> str: return TEXT\n"
        "@job\n"
        "def call(): ...\n"
        "Schedule('unbound', cron='0 * * * *', target='call')\n"
    )
    with engine(tmp_path / "csv.py") as river:
        assert _use(river) == "helped"
        assert river.states("call") == ["succeeded", "succeeded"]
    module = plugin(tmp_path / "csv.py")
    assert module.made() == "helped"
    with engine(module) as river:
        assert _use(river) == "helped"
        assert river.states("call") == ["succeeded", "succeeded"], "the schedule has no name in the module"
    package = tmp_path / "boxed"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from freshet import asset\nfrom .inner import TEXT\n@asset\ndef one(): return TEXT\n"
    )
    (package / "inner.py").write_text("TEXT = 'inner'\n")
    assert plugin(package).one() == "inner"
    with pytest.raises(DefinitionError, match="no such plugin"):
        plugin(tmp_path / "absent.py")


def test_a_module_that_was_imported_gives_what_it_has_names_for() -> None:
    import types

    module = types.ModuleType("some")
    module.__dict__.update(greet=greet, also=greet, number=3)
    with engine(module) as river:
        assert river.call("greet", name="me").state == "succeeded"


def test_the_same_definitions_twice_do_not_meet() -> None:
    for _ in range(2):
        with engine(EVERYTHING) as river:
            river.advance("30m")
            assert river.value("total") == 30
            assert len(river.runs("raw")) == 2
