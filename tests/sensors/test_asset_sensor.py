"""AssetSensor in a whole engine: each event once, at once, and never its own doing."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import Asset, DynamicPartitions, Freshness, Happened, Job, Report, RunRequest, asset, check, job, sensor
from freshet.engine.clock import SimulatedClock
from freshet.errors import DefinitionError, StoreUnavailable
from freshet.host.describe import catalog
from freshet.store.ticks import commit_tick
from freshet.testing import tick
from freshet_sensors import AssetSensor

pytestmark = pytest.mark.anyio

DAYS = DynamicPartitions("days")


def _assets() -> tuple[Asset, Asset]:
    @asset(partitions=DAYS)
    def raw(ctx: Any) -> int:
        if ctx.partition.key.startswith("bad"):
            raise ValueError("no such day")
        return 1

    @asset(partitions=DAYS)
    def copied() -> int:
        return 1

    return raw, copied


def _job(calls: list[Any]) -> Job:
    @job
    def note(
        items: list[dict[str, Any]] | None = None,
        partition: str | None = None,
        event: str | None = None,
    ) -> None:
        calls.extend([{"partition": partition, "event": event}] if items is None else items)

    return note


async def _keys(one: Rig, target: str) -> list[str | None]:
    return [run.run_key for run in await one.runs(target)]


async def test_an_event_is_a_run_of_the_same_partition_at_the_same_instant(tmp_path: Path) -> None:
    raw, copied = _assets()
    follow = AssetSensor("follow", asset=raw, target=copied, interval="1h")
    async with rig(tmp_path, [raw, copied, follow]) as one:
        await one.control.add_partitions("days", {"mon": {}, "bad": {}})
        began = one.clock.now()
        await one.control.materialize(["raw"], key="mon")
        await one.control.materialize(["raw"], key="bad")
        await one.settle()
        (event,) = [each for each in await one.events("materialized") if each.asset == "raw"]
        (run,) = await one.runs("copied")
        assert (run.run_key, run.key, run.state) == (f"raw@{event.seq}", "mon", "succeeded")
        assert one.clock.now() == began, "woken by the event: no interval has passed"


async def test_events_that_nobody_listens_to_wake_nobody(tmp_path: Path) -> None:
    raw, copied = _assets()
    calls: list[Any] = []
    follow = AssetSensor("follow", asset="copied", on="failed", target=_job(calls), interval="1h")
    async with rig(tmp_path, [raw, copied, _job(calls), follow]) as one:
        await one.control.add_partitions("days", {"mon": {}})
        looked = one.engine.ticks.sensors["follow"].row.last_tick, one.engine.ticks.sensors["follow"].ticks
        await one.control.materialize(["raw"], key="mon")
        await one.control.materialize(["copied"], key="mon")
        await one.settle()
        now = one.engine.ticks.sensors["follow"]
        assert (now.row.last_tick, now.ticks) == looked


@pytest.mark.parametrize("seed", range(6))
async def test_each_event_is_answered_once_through_crashes_and_lost_commits(tmp_path: Path, seed: int) -> None:
    dice, clock = random.Random(seed), SimulatedClock()
    raw, copied = _assets()
    calls: list[Any] = []
    note = _job(calls)
    things = [
        raw,
        copied,
        note,
        AssetSensor("follow", asset=raw, target=copied, start="all"),
        AssetSensor("failures", asset=raw, on="failed", target=note, params=["partition", "event"], start="all"),
    ]
    for life in range(6):
        async with rig(tmp_path, things, clock=clock, stop=dice.random() < 0.5) as one:
            await one.control.add_partitions("days", {key: {} for key in ("mon", "tue", "bad1", "bad2")})
            losing = _losing(one)
            for _ in range(8):
                losing.lose = dice.random() < 0.4
                for _ in range(dice.randint(1, 3)):
                    await one.control.materialize(["raw"], key=dice.choice(("mon", "tue", "bad1", "bad2")))
                if dice.random() < 0.8:
                    await one.settle()
            losing.lose = False
            if life == 5:
                await one.advance(600)
                events = await one.events()
                made = [
                    (e.type, f"raw@{e.seq}")
                    for e in events
                    if e.asset == "raw" and e.type in ("materialized", "failed")
                ]
                assert await _keys(one, "copied") == [key for kind, key in made if kind == "materialized"]
                assert await _keys(one, "note") == [key for kind, key in made if kind == "failed"]
                assert {call["event"] for call in calls} == {"failed"}
                assert {call["partition"] for call in calls} <= {"bad1", "bad2"}


class _Losing:
    """A store that cannot commit ticks while it is told to lose them."""

    def __init__(self, one: Rig) -> None:
        self.lose = False
        self._write: Any = one.store.write
        one.store.write = self.write  # type: ignore[method-assign]

    async def write(self, transaction: Any, **how: Any) -> Any:
        if self.lose and isinstance(transaction, partial) and transaction.func is commit_tick:
            raise StoreUnavailable("the disk is full", hint="free space")
        return await self._write(transaction, **how)


def _losing(one: Rig) -> _Losing:
    return _Losing(one)


@asset
def source() -> int:
    """Reported from outside."""
    return 1


@sensor(interval="1d")
async def outside(ctx: Any) -> Any:
    """Reports 12,000 materializations, in transactions of 3,000."""
    for _ in range(0 if ctx.cursor else 4):
        for number in range(3_000):
            yield Report("source", metadata={"number": number})
        ctx.cursor = True
        await ctx.checkpoint()


async def test_twelve_thousand_events_are_caught_up_in_batches(tmp_path: Path) -> None:
    calls: list[Any] = []
    follow = AssetSensor("follow", asset=source, target="note", partition=False, params="seq", start="all", batch=1000)
    things = [source, outside, _job(calls), follow]
    async with rig(tmp_path, [source, outside, _job(calls)]) as one:
        made = [event.seq for event in await one.events("materialized")]
        assert len(made) == 12_000
    async with rig(tmp_path, things) as one:
        await one.advance(20)
        assert [call["seq"] for call in calls] == made
        row = one.engine.ticks.sensors["follow"].row
        assert row.cursor >= made[-1]
        assert row.last_tick >= 4, "no look takes all at once"


async def test_what_happened_before_it_was_there_counts_only_if_asked_for(tmp_path: Path) -> None:
    raw, copied = _assets()
    async with rig(tmp_path, [raw, copied]) as one:
        await one.control.add_partitions("days", {"mon": {}})
        await one.control.materialize(["raw"], key="mon")
        await one.settle()
    now = AssetSensor("now", asset=raw, target=copied)
    async with rig(tmp_path, [raw, copied, now]) as one:
        assert await _keys(one, "copied") == []
        await one.control.materialize(["raw"], key="mon")
        await one.settle()
        assert len(await _keys(one, "copied")) == 1


async def test_a_key_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    raw, copied = _assets()
    follow = AssetSensor("follow", asset=raw, target=copied)
    async with rig(tmp_path, [raw, copied, follow]) as one:
        await one.control.pause("follow")
        await one.control.add_partitions("days", {"mon": {}, "tue": {}})
        for key in ("mon", "tue"):
            await one.control.materialize(["raw"], key=key)
        await one.settle()
        await one.control.delete_partitions("days", ["mon"])
        await one.control.resume("follow")
        await one.settle()
        assert [run.key for run in await one.runs("copied")] == ["tue"]
        assert one.engine.ticks.sensors["follow"].row.failures == 0


async def test_freshness_wakes_it(tmp_path: Path) -> None:
    @asset(freshness=Freshness(within="1h", warn="30m"))
    def daily() -> int:
        return 1

    calls: list[Any] = []
    watch = AssetSensor(
        "watch", asset="daily", on=("lapsed", "warned", "restored"), target="note", partition=False, params=["event"]
    )
    async with rig(tmp_path, [daily, _job(calls), watch]) as one:
        await one.advance(3 * 3600)
        await one.control.materialize(["daily"])
        await one.settle()
        assert [call["event"] for call in calls] == ["warned", "lapsed", "restored"]


def test_a_map_says_what_is_to_be_done() -> None:
    at = Happened(1, _at(), "materialized", "raw", "mon", 3, {"metadata": {"rows": 2}})
    events = [at, Happened(2, _at(), "materialized", "other"), Happened(5, _at(), "materialized", "raw", "tue")]

    async def both(event: Happened) -> Any:
        return [RunRequest("note"), RunRequest("note", run_key="own")] if event.partition == "mon" else None

    made = AssetSensor("mapped", asset="raw", map=both)
    done = tick(made, 0, events=events)
    assert (done.run_keys, done.cursor) == (["raw@1", "own"], 5)
    assert tick(made, None, events=events).run_keys == []
    with pytest.raises(DefinitionError, match="asks for runs of it"):
        tick(AssetSensor("circle", asset="raw", map=lambda event: RunRequest("raw")), 0, events=events)


def _at() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "note"}, "whose events"),
        ({"asset": "raw"}, "what is to be done"),
        ({"asset": "raw", "target": "raw"}, "asks for runs of it"),
        ({"asset": "raw", "target": "note", "on": "made"}, "'made' is unknown"),
        ({"asset": "raw", "target": "note", "on": ()}, "on= is empty"),
        ({"asset": "raw", "target": "note", "start": "then"}, "'then' is unknown"),
        ({"asset": "raw", "target": "note", "params": ["key"]}, "'key' is unknown"),
        ({"asset": 3, "target": "note"}, "3 is no asset"),
        ({"asset": "raw", "map": "note"}, "takes a function"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said) as raised:
        AssetSensor("wrong", **options)
    assert raised.value.hint


def test_what_nobody_declares_and_what_would_never_end_is_refused_as_a_whole() -> None:
    raw, copied = _assets()
    typo = AssetSensor("typo", asset="rav", target="copied")
    one, other = AssetSensor("one", asset="raw", target="copied"), AssetSensor("other", asset=copied, target=raw)
    found = catalog([raw, copied, typo, one, other], version="1").problems
    messages = [problem["message"] for problem in found]
    assert [message for message in messages if "'rav'" in message]
    (circle,) = [problem for problem in found if "for ever" in problem["message"]]
    assert "'other' -> 'one'" in circle["message"]
    assert "deps=" in circle["hint"]
    assert not catalog([raw, copied, one], version="1").problems


async def test_what_checks_find_is_answered_with_the_name_of_the_check(tmp_path: Path) -> None:
    told: list[tuple[str, str, str | None, int]] = []

    @asset(partitions=DAYS)
    def raw(ctx: Any) -> int:
        return len(ctx.partition.key)

    @check(asset=raw)
    def short(raw: int) -> bool:
        return raw < 4

    @check(asset=raw)
    def named() -> bool:
        return True

    @job
    def alarm(asset: str, check: str, partition: str | None, run: int) -> None:
        told.append((asset, check, partition, run))

    bad = AssetSensor("bad", asset=raw, on="check_failed", target=alarm, params=["asset", "check", "partition", "run"])
    async with rig(tmp_path, [raw, short, named, alarm, bad]) as one:
        await one.control.add_partitions("days", {"mon": {}, "monday": {}})
        for key in ("mon", "monday"):
            await one.control.materialize(["raw"], key=key)
            await one.settle()
        (seq,) = [event.seq for event in await one.events("check_failed")]
        assert told == [("raw", "short", "monday", 2)]
        assert await _keys(one, "alarm") == [f"raw@{seq}"]
    with pytest.raises(DefinitionError, match="asks for runs of it"):
        AssetSensor("again", asset=raw, on="check_failed", target=raw)
