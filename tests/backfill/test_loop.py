"""Whole backfills through the whole engine, in virtual time."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import All, AutomationCondition, Dep, DynamicPartitions, RunRequest, StaticPartitions, asset, sensor
from freshet.engine.backfill.active import BackfillView
from freshet.engine.backfill.select import BackfillRequest
from freshet.errors import Conflict, FreshetError, PartitionKeyError, UnknownName
from freshet.store.backfills import backfill_bits
from freshet.store.records import StepToRun

pytestmark = pytest.mark.anyio

DAYS = [f"2026-03-{day:02}" for day in range(1, 31)]


class Plant:
    """raw -> clean over days, and a total over all of them. `bad`: the days on which raw fails."""

    def __init__(self, *, eager: bool = False) -> None:
        self.bad = set[str]()
        self.seen = Counter[tuple[str, str | None]]()
        days = self.days = DynamicPartitions("days")

        @asset(partitions=days)
        def raw(ctx: Any) -> str:
            self.seen["raw", ctx.partition.key] += 1
            if ctx.partition.key in self.bad:
                raise ValueError("no such day")
            return str(ctx.partition.key)

        @asset(partitions=days, automation=AutomationCondition.eager() if eager else None)
        def clean(ctx: Any, raw: str) -> str:
            self.seen["clean", ctx.partition.key] += 1
            return raw

        @asset(deps=[Dep(clean, mapping=All())])
        def total(ctx: Any) -> int:
            self.seen["total", None] += 1
            return 1

        @sensor(interval="1s", target=raw)
        async def busy(ctx: Any) -> Any:
            ctx.cursor = (ctx.cursor or 0) + 1
            yield RunRequest(partition=DAYS[ctx.cursor % 30], run_key=str(ctx.cursor))

        self.objects: list[object] = [raw, clean, total]
        self.busy = busy

    def made(self, name: str) -> Counter[str | None]:
        return Counter({key: times for (asset_, key), times in self.seen.items() if asset_ == name})


async def with_days(one: Rig, days: list[str] = DAYS) -> None:
    await one.control.add_partitions("days", {day: {} for day in days})
    await one.settle()


async def begun(one: Rig, *assets: str, **options: Any) -> BackfillView:
    chosen: dict[str, Any] = {"select": "partitions" if "partitions" in options else "all", **options}
    return await one.control.begin_backfill(BackfillRequest(assets, **chosen))


def second(_: StepToRun) -> float:
    return 1.0


async def test_a_range_is_made_in_dependency_order(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects) as one:
        await with_days(one)
        view = await begun(one, "raw", partitions="2026-03-05..2026-03-14", downstream=True, tags={"why": "test"})
        assert [(row.asset, row.wanted) for row in view.assets] == [("raw", 10), ("clean", 10), ("total", 1)]
        assert view.planned_runs == 11
        await one.settle()
        view = await one.control.backfill(view.row.id)
        assert (view.row.state, view.row.error) == ("succeeded", None)
        assert [row.done for row in view.assets] == [10, 10, 1]
        runs = await one.runs()
        assert [(run.key, len(run.steps)) for run in runs] == [*((day, 2) for day in DAYS[4:14]), (None, 1)]
        assert {run.origin for run in runs} == {f"backfill:{view.row.id}"}
        assert {run.run_key for run in runs} == {None}
        assert {run.tags["why"] for run in runs} == {"test"}


async def test_what_failed_and_what_hangs_below_is_made_by_a_retry_and_no_more(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects) as one:
        await with_days(one)
        plant.bad = {"2026-03-12"}
        first = await begun(one, "raw", downstream=True)
        await one.settle()
        view = await one.control.backfill(first.row.id)
        assert (view.row.state, view.row.error) == ("failed", "1 failed, 2 blocked below them")
        assert [(row.done, row.failed, row.blocked) for row in view.assets] == [(29, 1, 0), (29, 0, 1), (0, 0, 1)]
        plant.bad.clear()
        before = plant.seen.copy()
        again = await one.control.change_backfill(first.row.id, "retry")
        assert [(row.asset, row.wanted) for row in again.assets] == [("raw", 1), ("clean", 1), ("total", 1)]
        assert again.row.request["retry_of"] == first.row.id
        await one.settle()
        assert (await one.control.backfill(again.row.id)).row.state == "succeeded"
        assert plant.seen - before == {("raw", "2026-03-12"): 1, ("clean", "2026-03-12"): 1, ("total", None): 1}
        with pytest.raises(Conflict, match="left nothing"):
            await one.control.change_backfill(again.row.id, "retry")
        with pytest.raises(Conflict, match=f"nothing is left: backfill {again.row.id} made it"):
            await one.control.change_backfill(first.row.id, "retry")


async def test_a_retry_makes_what_the_retries_before_it_left_and_no_more(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, duration=second) as one:
        await with_days(one)
        plant.bad = {"2026-03-12", "2026-03-13"}
        first = (await begun(one, "raw", downstream=True)).row.id
        await one.advance(100)
        plant.bad.remove("2026-03-12")
        second_id = (await one.control.change_backfill(first, "retry")).row.id
        with pytest.raises(Conflict, match=f"backfill {second_id} makes it now"):
            await one.control.change_backfill(first, "retry")
        await one.advance(100)
        assert (await one.control.backfill(first)).retried_by == second_id
        plant.bad.clear()
        before = plant.seen.copy()
        third = await one.control.change_backfill(first, "retry")
        assert [(row.asset, row.wanted) for row in third.assets] == [("raw", 1), ("clean", 1), ("total", 1)]
        await one.advance(100)
        assert plant.seen - before == {("raw", "2026-03-13"): 1, ("clean", "2026-03-13"): 1, ("total", None): 1}
        for id in (first, second_id):
            with pytest.raises(Conflict, match=f"nothing is left: backfill {third.row.id} made it"):
                await one.control.change_backfill(id, "retry")


async def test_few_runs_wait_at_a_time(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, workers=2, duration=second) as one:
        await with_days(one)
        view = await begun(one, "raw", priority=3)
        await one.advance(0.1)
        assert await one.states() == ["started", "started", *["queued"] * 6]
        assert {run.priority for run in await one.runs()} == {3}
        await one.advance(3)
        view = await one.control.backfill(view.row.id)
        assert (view.assets[0].done, view.assets[0].in_flight, view.assets[0].left) == (6, 8, 24)
        assert view.eta == pytest.approx(12, abs=1)
        await one.advance(20)
        assert plant.made("raw") == dict.fromkeys(DAYS, 1)


async def test_paused_it_asks_for_nothing_and_resumed_it_goes_on(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, duration=second) as one:
        await with_days(one)
        view = await begun(one, "raw", "clean")
        await one.advance(0.5)
        paused = await one.control.change_backfill(view.row.id, "pause")
        assert paused.row.state == "paused"
        await one.advance(60)
        assert len(plant.made("raw")) == 8, "those asked for have ended"
    async with rig(tmp_path, plant.objects, clock=one.clock, duration=second) as one:
        await one.advance(60)
        assert len(plant.made("raw")) == 8, "paused over a restart"
        await one.control.change_backfill(view.row.id, "resume")
        await one.advance(100)
        assert (await one.control.backfill(view.row.id)).row.state == "succeeded"
        assert plant.made("raw") == plant.made("clean") == dict.fromkeys(DAYS, 1)
        with pytest.raises(Conflict, match="has ended \\(succeeded\\)"):
            await one.control.change_backfill(view.row.id, "pause")


async def test_canceled_it_takes_its_runs_with_it(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, duration=second) as one:
        await with_days(one)
        view = await begun(one, "raw")
        await one.advance(2.5)
        view = await one.control.change_backfill(view.row.id, "cancel")
        await one.settle()
        assert view.row.state == "canceled"
        assert view.assets[0].done == 4
        await one.advance(60)
        assert Counter(await one.states()) == {"succeeded": 4, "canceled": 8}
        again = await one.control.change_backfill(view.row.id, "retry")
        assert again.assets[0].wanted == 26


async def test_a_run_canceled_by_hand_counts_as_failed(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, duration=second) as one:
        await with_days(one, DAYS[:3])
        view = await begun(one, "raw", "clean")
        await one.advance(0.5)
        await one.control.cancel((await one.runs())[2].id)
        await one.advance(30)
        view = await one.control.backfill(view.row.id)
        assert view.row.state == "failed"
        assert [(row.done, row.failed, row.blocked) for row in view.assets] == [(2, 1, 0), (2, 1, 0)]


@pytest.mark.parametrize("seed", range(3))
async def test_cut_off_in_the_middle_nothing_is_run_twice_or_forgotten(tmp_path: Path, seed: int) -> None:
    plant = Plant()
    plant.bad = {DAYS[5]}
    async with rig(tmp_path, plant.objects, stop=False, duration=second) as one:
        await with_days(one)
        view = await begun(one, "raw", downstream=True)
        await one.advance(3.5 + 3 * seed)
    for _ in range(3):
        async with rig(tmp_path, plant.objects, clock=one.clock, stop=False, duration=second) as one:
            await one.advance(4.5)
    async with rig(tmp_path, plant.objects, clock=one.clock, duration=second) as one:
        await one.advance(200)
        view = await one.control.backfill(view.row.id)
        assert view.row.error == "1 failed, 2 blocked below them"
        assert [(row.done, row.failed, row.blocked) for row in view.assets] == [(29, 1, 0), (29, 0, 1), (0, 0, 1)]
        ended = Counter((s.name, run.key) for run in await one.runs() for s in run.steps if s.state == "succeeded")
        assert set(ended.values()) == {1}, "nothing that succeeded ran again"


async def test_while_a_sensor_and_automation_are_at_work(tmp_path: Path) -> None:
    plant = Plant(eager=True)
    async with rig(tmp_path, [*plant.objects, plant.busy], workers=3, duration=second) as one:
        await with_days(one)
        view = await begun(one, "raw", downstream=True)
        await one.advance(120)
        view = await one.control.backfill(view.row.id)
        assert view.row.state == "succeeded"
        assert len({run.origin.partition(":")[0] for run in await one.runs()} & {"sensor", "backfill"}) == 2
        own = [run for run in await one.runs() if run.origin == f"backfill:{view.row.id}"]
        assert len(own) == 31


async def test_what_is_missing_and_what_failed(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects) as one:
        await with_days(one, DAYS[:6])
        plant.bad = {DAYS[2]}
        await begun(one, "raw", partitions=f"{DAYS[0]},{DAYS[2]},{DAYS[3]}")
        assert one.control.status().loops["backfills"] == 0, "a turn is being taken"
        await one.settle()
        assert one.control.status().loops["backfills"] is None
        plant.bad.clear()
        failed = await begun(one, "raw", select="failed")
        assert failed.assets[0].wanted == 1
        await one.settle()
        missing = await begun(one, "raw", select="missing")
        assert missing.assets[0].wanted == 3
        await one.settle()
        assert plant.made("raw") == {**dict.fromkeys(DAYS[:6], 1), DAYS[2]: 2}
        for select, says in (("missing", "nothing of raw is missing"), ("failed", "nothing of raw has failed")):
            with pytest.raises(Conflict, match=says):
                await begun(one, "raw", select=select)


async def test_a_single_run_has_a_step_for_everything(tmp_path: Path) -> None:
    plant = Plant()
    plant.bad = {DAYS[1]}
    async with rig(tmp_path, plant.objects, workers=3, duration=second) as one:
        await with_days(one)
        view = await begun(one, "raw", partitions="..2026-03-03", downstream=True, single_run=True, priority=4)
        assert view.planned_runs == 1
        await one.settle()
        (run,) = await one.runs()
        assert (len(run.steps), run.priority, run.key) == (7, 4, None)
        assert [step.state for step in run.steps] == [*["started"] * 3, *["queued"] * 4], "at once where independent"
        await one.advance(1.5)
    async with rig(tmp_path, plant.objects, clock=one.clock, duration=second) as one:
        await one.advance(30)
        view = await one.control.backfill(view.row.id)
        assert (view.row.state, len(await one.runs())) == ("failed", 1)
        assert [(row.done, row.failed, row.blocked) for row in view.assets] == [(2, 1, 0), (2, 0, 1), (0, 0, 1)]
        assert plant.made("clean").keys() == {DAYS[0], DAYS[2]}
        plant.bad.clear()
        again = await one.control.change_backfill(view.row.id, "retry")
        await one.advance(30)
        assert (await one.control.backfill(again.row.id)).row.state == "succeeded"
        assert [len(run.steps) for run in await one.runs()] == [7, 3]
        made = await one.events("materialized")
        assert {(event.asset, event.set) for event in made} == {("raw", "days"), ("clean", "days"), ("total", None)}


async def test_a_single_run_is_not_for_thousands(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects) as one:
        await with_days(one, [f"k{number}" for number in range(501)])
        with pytest.raises(Conflict, match="one run of 1,002 steps; 1,000 is the most"):
            await begun(one, "raw", "clean", single_run=True)


async def test_deleted_partitions_drop_out_and_new_ones_do_not_come_in(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, duration=second) as one:
        await with_days(one, DAYS[:20])
        view = await begun(one, "raw")
        await one.advance(1.5)
        await one.control.delete_partitions("days", [DAYS[4], DAYS[18], DAYS[19]])
        await one.control.add_partitions("days", {DAYS[19]: {}, DAYS[25]: {}})
        await one.advance(60)
        view = await one.control.backfill(view.row.id)
        assert (view.row.state, view.assets[0].wanted, view.assets[0].done) == ("succeeded", 17, 17)
        assert not {DAYS[18], DAYS[19], DAYS[25]} & plant.made("raw").keys()


async def test_assets_that_are_declared_no_more_end_it(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, duration=second) as one:
        await with_days(one)
        view = await begun(one, "raw", downstream=True)
        await one.advance(3.5)
    async with rig(tmp_path, plant.objects[:1], clock=one.clock, duration=second) as one:
        found = await one.control.backfill(view.row.id)
        assert (found.row.state, found.row.error) == ("failed", "'clean' is declared no more, or over other partitions")
        assert one.engine.backfills.active == {}
        again = await one.control.change_backfill(view.row.id, "retry")
        assert [row.asset for row in again.assets] == ["raw"]


async def test_two_at_a_time_share_the_slots(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, duration=second) as one:
        await with_days(one)
        views = [await begun(one, "raw", partitions=keys) for keys in ("..2026-03-06", "2026-03-20..")]
        await one.advance(0.5)
        assert [len(found.runs) for found in await one.control.backfills()] == [8, 6]
        await one.advance(30)
        assert [(await one.control.backfill(view.row.id)).row.state for view in views] == ["succeeded"] * 2
        assert len(plant.made("raw")) == 17


async def test_its_bits_are_as_its_view_says(tmp_path: Path) -> None:
    plant = Plant()
    plant.bad = {DAYS[7]}
    async with rig(tmp_path, plant.objects, stop=False) as one:
        await with_days(one)
        view = await begun(one, "raw", downstream=True)
        await one.settle()
        bits = await one.store.read(partial(backfill_bits, backfill_id=view.row.id))
        assert {what: len(found) for what, found in bits["clean"].items()} == {"wanted": 30, "asked": 29, "done": 29}
        assert list(bits["raw"]["failed"]) == [8]
    async with rig(tmp_path, plant.objects, clock=one.clock) as one:
        found = await one.control.backfill(view.row.id)
        assert found == (await one.control.backfills())[0]
        assert [(row.done, row.failed, row.blocked) for row in found.assets] == [(29, 1, 0), (29, 0, 1), (0, 0, 1)]


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"partitions": "2026-03-09..2026-03-05"}, PartitionKeyError, "runs backward"),
        ({"partitions": "2026-03-05..2026-04-05"}, UnknownName, "has no key '2026-04-05'"),
        ({"partitions": "2026-03-05,nope"}, UnknownName, "has no key 'nope'"),
        ({"partitions": ""}, PartitionKeyError, "no selection"),
        ({"select": "partitions"}, Conflict, "exactly one selection"),
        ({"select": "missing", "partitions": "x"}, Conflict, "exactly one selection"),
        ({"assets": ("rawe",)}, UnknownName, "did you mean 'raw'"),
        ({"assets": ("total",), "partitions": "2026-03-05"}, Conflict, "has no partitions"),
        ({"assets": ("raw", "alone"), "partitions": "2026-03-05"}, Conflict, "neither above nor below"),
        ({"assets": ()}, Conflict, "no assets"),
        ({"assets": ("empty",)}, Conflict, "no partitions yet"),
    ],
)
async def test_requests_that_cannot_be(
    tmp_path: Path, options: dict[str, Any], kind: type[FreshetError], says: str
) -> None:
    plant = Plant()
    alone = StaticPartitions(["a", "b"], name="letters")

    def nothing() -> None: ...

    sets: dict[str, Any] = {"alone": alone, "empty": DynamicPartitions("nothing")}
    others = [asset(name=name, partitions=over)(nothing) for name, over in sets.items()]
    async with rig(tmp_path, [*plant.objects, *others]) as one:
        await with_days(one)
        given: dict[str, Any] = {
            "assets": ("raw",),
            "select": "partitions" if "partitions" in options else "all",
            **options,
        }
        with pytest.raises(kind) as caught:
            await one.control.begin_backfill(BackfillRequest(**given))
        assert says in str(caught.value)
        assert caught.value.hint
        with pytest.raises(UnknownName, match="no backfill 7"):
            await one.control.backfill(7)
        assert await one.runs() == []
