"""A policy for each live partition: scenes in virtual time, on a real store."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from tests.engine.rig import Rig, rig
from tests.support.served import served_engine

from freshet import (
    AutomationCondition,
    DynamicPartitions,
    Freshness,
    StaticPartitions,
    StepContext,
    TimePartitions,
    asset,
    external_asset,
)
from freshet.engine.clock import SimulatedClock
from freshet.store.partition_freshness import PIECE, look_at_partitions
from freshet.store.partitions import change_partitions
from freshet.store.records import PartitionDelta, ReportedMaterialization

pytestmark = pytest.mark.anyio

keys = DynamicPartitions("keys")
parts = external_asset("parts", partitions=keys, freshness=Freshness(within="60s", warn="45s", per_partition=True))


async def told(engine: Rig, begin: float) -> list[tuple[str, int | None, float]]:
    """What became of partitions, and when: seconds after `begin`."""
    return [
        (event.type.removeprefix("freshness_"), event.partition, round(event.at - begin, 3))
        for event in await engine.events()
        if event.type.startswith("freshness_")
    ]


async def made(engine: Rig, key: str, *, at: float | None = None) -> None:
    await engine.control.report_made(ReportedMaterialization("parts", key, at=at))
    await engine.settle()


async def test_each_partition_counts_from_its_own(tmp_path: Path) -> None:
    clock = SimulatedClock()
    begin = clock.now()
    async with rig(tmp_path, [parts], clock=clock) as engine:
        await engine.control.add_partitions("keys", {"a": {}, "b": {}})
        await engine.advance(20)
        await made(engine, "a")
        await engine.advance(25)
        assert await told(engine, begin) == [("warned", 2, 45)]
        await engine.advance(30)
        assert (await told(engine, begin))[1:] == [("lapsed", 2, 60), ("warned", 1, 65)]
        await made(engine, "b")
        await engine.advance(1000)
        assert (await told(engine, begin))[3:] == [
            ("restored", 2, 75), ("lapsed", 1, 80), ("warned", 2, 120), ("lapsed", 2, 135),
        ]  # fmt: skip
        lapses = await engine.events("freshness_lapsed")
        assert [event.at for event in lapses] == [event.data["deadline"] for event in lapses]
        assert {event.set for event in lapses} == {"keys"}


async def test_what_lapsed_while_the_daemon_was_down_is_told_once_with_its_deadline(tmp_path: Path) -> None:
    clock = SimulatedClock()
    begin = clock.now()
    async with rig(tmp_path, [parts], clock=clock, stop=False) as engine:
        await engine.control.add_partitions("keys", {"a": {}, "b": {}})
        await engine.settle()
    await clock.advance(100, _nothing)
    for _ in range(2):
        async with rig(tmp_path, [parts], clock=clock) as engine:
            await engine.advance(10)
            lapses = await engine.events("freshness_lapsed")
            assert [(event.partition, event.at, event.data) for event in lapses] == [
                (number, begin + 100, {"deadline": begin + 60}) for number in (1, 2)
            ]
            assert await engine.events("freshness_warned") == [], "the lapse had passed too"


async def _nothing() -> None:
    return


async def test_deleted_ones_are_forgotten_and_begin_anew(tmp_path: Path) -> None:
    clock = SimulatedClock()
    begin = clock.now()
    async with rig(tmp_path, [parts], clock=clock) as engine:
        await engine.control.add_partitions("keys", {"a": {}, "b": {}})
        await engine.advance(30)
        await engine.control.delete_partitions("keys", ["a"])
        await engine.advance(40)
        assert await told(engine, begin) == [("warned", 2, 45), ("lapsed", 2, 60)]
        await engine.control.delete_partitions("keys", ["b"])
        await engine.control.add_partitions("keys", {"b": {}})
        await engine.advance(60)
        assert (await told(engine, begin))[2:] == [("warned", 2, 115), ("lapsed", 2, 130)]


async def test_what_is_deleted_as_it_lapses_does_not_lapse_when_it_comes_back(tmp_path: Path) -> None:
    """Its deadline comes while the deletion is being written: what was live then is not any more."""

    @asset(partitions=keys, deps=["parts"], automation=AutomationCondition.upstream_lapsed())
    def alarm(ctx: StepContext) -> int:
        return 1

    async with rig(tmp_path, [parts, alarm]) as engine:
        await engine.control.add_partitions("keys", {"a": {}, "b": {}})
        await engine.advance(59)
        live = engine.engine.instruments.in_force.partitions.sets.named("keys").copy()
        delta, now = PartitionDelta("keys", delete=("a",)), engine.clock.now() + 1
        _, events = await engine.store.write(partial(change_partitions, delta=delta, now=now))
        look = partial(look_at_partitions, asset="parts", set_name="keys", live=live, added=[], now=now)
        for told in (events, (await engine.store.write(look)).events):
            engine.engine.instruments.bus.publish(told)
        await engine.control.add_partitions("keys", {"a": {}})
        await engine.settle()
        assert [event.partition for event in await engine.events("freshness_lapsed")] == [2]
        assert [run.key for run in await engine.runs()] == ["b"]


async def test_many_lapse_at_one_instant_in_bounded_pieces(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with rig(tmp_path, [parts], clock=clock) as engine:
        await engine.control.add_partitions("keys", {f"k{number}": {} for number in range(2 * PIECE + 7)})
        await engine.advance(59)
        await engine.advance(1)
        lapses = await engine.events("freshness_lapsed")
        assert len({event.partition for event in lapses}) == len(lapses) == 2 * PIECE + 7
        by_transaction = [sum(event.txn == txn for event in lapses) for txn in {event.txn for event in lapses}]
        assert max(by_transaction) <= PIECE
        assert {event.at for event in lapses} == {clock.now()}


async def test_a_policy_that_comes_later_counts_from_what_is_known_and_goes_without_a_word(tmp_path: Path) -> None:
    clock = SimulatedClock()
    whole = external_asset("parts", partitions=keys, freshness=Freshness(within="60s"))
    begin = clock.now()
    async with rig(tmp_path, [whole], clock=clock) as engine:
        await engine.control.add_partitions("keys", {"a": {}, "b": {}})
        await engine.advance(10)
        await made(engine, "a")
        await engine.advance(10)
    async with rig(tmp_path, [parts], clock=clock) as engine:
        await engine.advance(100)
        assert [one for one in await told(engine, begin) if one[0] == "lapsed"] == [
            ("lapsed", 2, 60),
            ("lapsed", 1, 70),
        ]
    async with rig(tmp_path, [whole], clock=clock) as engine:
        await engine.advance(100)
        assert [one for one in await told(engine, begin) if one[0] == "lapsed"][2:] == [("lapsed", 0, 120)]


async def test_by_a_cron_text_each_has_to_be_begun_in_the_window(tmp_path: Path) -> None:
    policy = Freshness(cron="*/10 * * * *", window="4m", warn="2m", per_partition=True)
    regions = external_asset("parts", partitions=StaticPartitions(["n", "s"], name="regions"), freshness=policy)
    clock = SimulatedClock()  # at the full hour
    begin = clock.now()
    async with rig(tmp_path, [regions], clock=clock) as engine:
        await engine.advance(7 * 60)
        await made(engine, "n")
        await made(engine, "s", at=begin + 5 * 60)
        await engine.advance(4 * 60)
        assert await told(engine, begin) == [("warned", 2, 480), ("lapsed", 2, 600)]
        await made(engine, "s", at=begin + 5 * 60 + 50)
        assert len(await told(engine, begin)) == 2, "too early for the deadline that it missed"
        await made(engine, "s", at=begin + 6 * 60)
        assert (await told(engine, begin))[2:] == [("restored", 2, 660)]
        await engine.advance(10 * 60)
        assert (await told(engine, begin))[3:] == [
            ("warned", 2, 1080), ("warned", 1, 1080), ("lapsed", 2, 1200), ("lapsed", 1, 1200),
        ]  # fmt: skip


async def test_windows_of_time_count_from_their_end(tmp_path: Path) -> None:
    hours = TimePartitions("hourly", start="2026-01-01T00:00", timezone="UTC", name="hours")
    windows = external_asset("parts", partitions=hours, freshness=Freshness(within="10m", per_partition=True))
    clock = SimulatedClock()  # 2026-01-01T00:00Z
    begin = clock.now()
    async with rig(tmp_path, [windows], clock=clock) as engine:
        await engine.advance(2 * 3600 + 1800)
        assert [(kind, at) for kind, _, at in await told(engine, begin)] == [("lapsed", 4200), ("lapsed", 7800)]


async def test_each_partition_that_lapses_is_refreshed_once(tmp_path: Path) -> None:
    broken = {"b"}

    @asset(
        partitions=keys,
        freshness=Freshness(within="60s", per_partition=True),
        automation=AutomationCondition.on_lapse(attempts=2, delay="10s"),
    )
    def stock(ctx: StepContext) -> int:
        if ctx.partition.key in broken:
            raise RuntimeError("closed")
        return 1

    async with rig(tmp_path, [stock]) as engine:
        await engine.control.add_partitions("keys", {"a": {}, "b": {}})
        await engine.advance(10)
        await engine.control.add_partitions("keys", {"c": {}})
        await engine.advance(55)
        assert [(run.key, run.state) for run in await engine.runs()] == [("a", "succeeded"), ("b", "failed")]
        await engine.advance(50)
        told = [(event.type, event.partition) for event in await engine.events() if event.type.startswith("refresh_")]
        assert told == [("refresh_exhausted", 2)]
        keys_of = sorted(str(run.key) for run in await engine.runs())
        assert keys_of == ["a", "b", "b", "c"], "the lapse of c gave b no attempt anew"
        broken.clear()
        await engine.control.materialize(["stock"], key="b")
        await engine.advance(3)
        assert [event.partition for event in await engine.events("refresh_recovered")] == [2]
        assert len(await engine.runs()) == 5


async def test_below_one_that_lapses_only_what_depends_on_it_is_refreshed(tmp_path: Path) -> None:
    @asset(partitions=keys, deps=["parts"])
    def cleaned(ctx: StepContext) -> int:
        return 1

    @asset(partitions=keys, automation=AutomationCondition.on_lapse())
    def stock(ctx: StepContext, cleaned: int) -> int:
        return cleaned

    async with rig(tmp_path, [parts, cleaned, stock]) as engine:
        await engine.control.add_partitions("keys", {"a": {}, "b": {}})
        for key in ("a", "b"):
            await made(engine, key)
            await engine.control.materialize(["cleaned"], key=key)
        await engine.settle()
        await engine.advance(30)
        await made(engine, "b")
        await engine.advance(31)
        assert [run.key for run in await engine.runs() if run.target == "stock"] == ["a"]
        await engine.advance(30)
        assert sorted(str(run.key) for run in await engine.runs() if run.target == "stock") == ["a", "b"]


def test_the_command_line_counts_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soon = external_asset("parts", partitions=keys, freshness=Freshness(within="1s", per_partition=True))
    with served_engine(tmp_path, [soon], capsys) as served:
        served.cli("partitions", "keys", "add", "a", "b")
        served.advance(1)
        found = served.cli("assets", "parts", "--json").json["freshness"]
        assert (found["state"], found["deadline"], found["per_partition"]) == ("lapsed", None, True)
        assert "lapsed (2 lapsed)" in served.cli("assets").out
        assert served.cli("status", "--json").json["lapsed"] == ["parts"]


def test_the_command_line_lists_which_lapsed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    each = Freshness(within="1h", warn="30m", per_partition=True)
    parts = external_asset("parts", partitions=keys, freshness=each)
    with served_engine(tmp_path, [parts], capsys) as served:

        def listed(state: str) -> list[str]:
            found = served.cli("--json", "partitions", "keys", "--state", state).json
            return [one["key"] for one in found["partitions"]]

        served.cli("partitions", "keys", "add", "a", "b", "c")
        served.advance(2000)
        served.cli("report", "parts", "-p", "a")
        assert (listed("warn"), listed("lapsed")) == (["b", "c"], [])
        served.advance(1700)
        served.cli("report", "parts", "-p", "b")
        assert (listed("warn"), listed("lapsed")) == ([], ["c"])
        served.cli("partitions", "keys", "delete", "c")
        assert listed("lapsed") == []
