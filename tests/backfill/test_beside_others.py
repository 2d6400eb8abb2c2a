"""Backfills beside other runs of the same partitions: waited for, counted, and never run side by side."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import (
    All,
    Dep,
    DynamicPartitions,
    MultiPartitions,
    Report,
    StaticPartitions,
    TimePartitions,
    TimeWindow,
    asset,
    sensor,
)
from freshet.engine.backfill.active import BackfillView
from freshet.engine.backfill.select import BackfillRequest
from freshet.engine.clock import SimulatedClock
from freshet.store.backfills import commit_backfill
from freshet.store.records import StepToRun

pytestmark = pytest.mark.anyio

KEYS = DynamicPartitions("keys")
LETTERS = [f"k{number:02}" for number in range(12)]


class Plant:
    """part -> whole over keys, a sum of all below. `bad`: keys whose part fails, or "whole KEY". `slow`: seconds that a
    step takes. `reports`: what others have made, to be told."""

    def __init__(self) -> None:
        self.bad = set[str]()
        self.slow = 1.0
        self.reports = list[Report]()
        self.seen = Counter[tuple[str, str | None]]()

        @asset(partitions=KEYS)
        def part(ctx: Any) -> int:
            self.seen["part", ctx.partition.key] += 1
            if ctx.partition.key in self.bad:
                raise ValueError("no such key")
            return 1

        @asset(partitions=KEYS)
        def whole(ctx: Any, part: int) -> int:
            self.seen["whole", ctx.partition.key] += 1
            if f"whole {ctx.partition.key}" in self.bad:
                raise ValueError("no such whole")
            return part

        @asset(deps=[Dep(whole, mapping=All())])
        def total() -> int:
            self.seen["total", None] += 1
            return 1

        @sensor(interval="100ms")
        async def told(ctx: Any) -> Any:
            while self.reports:
                yield self.reports.pop()

        self.objects: list[object] = [part, whole, total, told]

    def duration(self, _: StepToRun) -> float:
        return self.slow

    def made(self, name: str) -> dict[str | None, int]:
        return {key: times for (asset_, key), times in self.seen.items() if asset_ == name}


async def with_keys(one: Rig) -> None:
    await one.control.add_partitions("keys", {key: {} for key in LETTERS})
    await one.settle()


async def begun(one: Rig, *assets: str, **options: Any) -> BackfillView:
    chosen: dict[str, Any] = {"select": "partitions" if "partitions" in options else "all", **options}
    return await one.control.begin_backfill(BackfillRequest(assets, **chosen))


async def apart(one: Rig) -> None:
    """No asset's partition was in two steps at once."""
    spans: dict[tuple[str, str | None], list[tuple[float, float]]] = {}
    for run in await one.runs():
        for step in run.steps:
            assert step.started_at is None or step.ended_at is not None
            if step.started_at is not None:
                spans.setdefault((step.name, run.key), []).append((step.started_at, step.ended_at or 0.0))
    for place, found in spans.items():
        found.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(found)), place


@pytest.mark.parametrize("select", ["missing", "all"])
@pytest.mark.parametrize("cut_off", [False, True])
async def test_two_over_the_same_partitions(tmp_path: Path, select: str, cut_off: bool) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, workers=3, duration=plant.duration, stop=not cut_off) as one:
        await with_keys(one)
        views = [await begun(one, "part", "whole", select=select) for _ in range(2)]
        await one.advance(2.5 if cut_off else 200)
    async with rig(tmp_path, plant.objects, workers=3, duration=plant.duration, clock=one.clock) as one:
        await one.advance(200)
        await apart(one)
        for view in views:
            found = await one.control.backfill(view.row.id)
            assert (found.row.state, [row.done for row in found.assets]) == ("succeeded", [12, 12])
        steps = Counter((s.name, r.key) for r in await one.runs() for s in r.steps if s.state == "succeeded")
        assert set(steps.values()) == {1 if select == "missing" else 2}
        assert len(steps) == 24


async def test_what_is_missing_is_not_made_again_if_others_made_it_or_failed(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, workers=1, duration=plant.duration) as one:
        await with_keys(one)
        plant.bad = {"k10"}
        for key in ("k10", "k11"):
            await one.control.materialize(["part"], key=key)
        view = await begun(one, "part", select="missing")
        plant.reports = [Report("part", partition="k09")]
        await one.advance(100)
        found = await one.control.backfill(view.row.id)
        assert (found.assets[0].wanted, found.assets[0].done, found.assets[0].failed) == (12, 11, 1)
        assert plant.made("part") == {key: 1 for key in LETTERS if key != "k09"}
        plant.bad.clear()
        await one.control.materialize(["part"], key="k10")
        await one.advance(5)
        again = await one.control.change_backfill(view.row.id, "retry")
        await one.advance(5)
        assert (await one.control.backfill(again.row.id)).assets[0].done == 1, "made since the first began"
        assert plant.made("part")["k10"] == 2


async def test_what_others_made_counts_though_the_daemon_was_cut_off(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, workers=1, duration=plant.duration, stop=False) as one:
        await with_keys(one)
        view = await begun(one, "part", select="missing")
        one.engine.backfills.stop()  # it writes nothing more
        plant.reports = [Report("part", partition="k09")]
        await one.advance(0.5)
        assert len(await one.events("materialized")) == 1
    async with rig(tmp_path, plant.objects, clock=one.clock, duration=plant.duration) as one:
        await one.advance(100)
        assert (await one.control.backfill(view.row.id)).row.state == "succeeded"
        made = plant.made("part")
        assert set(made) == {*LETTERS} - {"k09"}
        assert sum(made.values()) == len(made) + 1, "what was under way began anew"


async def test_a_retry_makes_what_lay_below_again_though_others_made_it(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, workers=4, duration=plant.duration) as one:
        await with_keys(one)
        plant.bad = {"whole k05"}
        view = await begun(one, "part", select="missing", downstream=True)
        await one.advance(100)
        plant.reports = [Report("whole", partition="k05")]
        plant.bad.clear()
        await one.advance(1)
        again = await one.control.change_backfill(view.row.id, "retry")
        await one.advance(10)
        found = await one.control.backfill(again.row.id)
        assert [(row.asset, row.done) for row in found.assets] == [("whole", 1), ("total", 1)]
        assert plant.made("whole")["k05"] == 2


async def test_what_others_let_go_is_made_after_all(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, workers=1, duration=plant.duration) as one:
        await with_keys(one)
        (run_id,) = await one.control.materialize(["part"], key="k03")
        view = await begun(one, "part", select="missing")
        await one.advance(0.5)
        await one.control.cancel(run_id)
        await one.advance(100)
        assert (await one.control.backfill(view.row.id)).row.state == "succeeded"
        assert [run.state for run in await one.runs() if run.key == "k03"] == ["canceled", "succeeded"]


async def test_what_is_asked_for_afresh_waits_for_the_run_of_another(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, workers=4, duration=plant.duration) as one:
        await with_keys(one)
        await one.control.materialize(["part"], key="k03")
        await one.advance(2)
        plant.slow = 50.0
        await one.control.materialize(["whole"], key="k03")
        await one.settle()
        plant.slow = 1.0
        view = await begun(one, "part", downstream=True)
        await one.advance(20)
        found = await one.control.backfill(view.row.id)
        assert [(row.asset, row.done, row.left) for row in found.assets] == [
            ("part", 12, 0),
            ("whole", 11, 1),
            ("total", 0, 1),
        ]
        assert (found.row.state, found.runs) == ("running", ())
        await one.advance(100)
        assert (await one.control.backfill(view.row.id)).row.state == "succeeded"
        await apart(one)
        assert plant.made("whole")["k03"] == 2


async def test_one_run_of_all_waits_for_each_of_them(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, workers=4, duration=plant.duration) as one:
        await with_keys(one)
        await one.control.materialize(["part"], key="k03")
        view = await begun(one, "part", single_run=True)
        await one.advance(0.5)
        assert len(await one.runs()) == 1
        await one.advance(100)
        assert (await one.control.backfill(view.row.id)).row.state == "succeeded"
        first, second = await one.runs()
        assert second.created_at >= (first.ended_at or 0.0) > first.created_at


@pytest.mark.parametrize("select", ["missing", "all"])
async def test_a_run_that_slips_in_before_the_commit_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, select: str
) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, workers=4, duration=plant.duration) as one:
        await with_keys(one)
        write = one.store.write
        slipped = list[int]()

        async def overtaken(transaction: Any, **options: Any) -> Any:
            if getattr(transaction, "func", None) is commit_backfill and not slipped:
                slipped.append(0)
                slipped.extend(await one.control.materialize(["part"], key="k00"))
            return await write(transaction, **options)

        monkeypatch.setattr(one.store, "write", overtaken)
        view = await begun(one, "part", select=select)
        await one.advance(100)
        assert len(slipped) == 2
        found = await one.control.backfill(view.row.id)
        assert (found.row.state, found.assets[0].done) == ("succeeded", 12)
        await apart(one)
        assert plant.made("part")["k00"] == (1 if select == "missing" else 2)


async def test_what_lies_below_what_was_missing_is_made_though_it_was_there(tmp_path: Path) -> None:
    plant = Plant()
    async with rig(tmp_path, plant.objects, workers=4, duration=plant.duration) as one:
        await with_keys(one)
        plant.reports = [Report("whole", partition="k05"), Report("total")]
        await one.advance(1)
        plant.bad = {"k05"}
        view = await begun(one, "part", select="missing", downstream=True)
        await one.advance(100)
        plant.bad.clear()
        await one.control.materialize(["part"], key="k05")
        await one.advance(5)
        again = await one.control.change_backfill(view.row.id, "retry")
        await one.advance(5)
        found = await one.control.backfill(again.row.id)
        assert (found.row.state, [row.done for row in found.assets]) == ("succeeded", [1, 1, 1])
        assert plant.made("part")["k05"] == 2, "by the first, and by hand"
        assert plant.made("whole") == dict.fromkeys(LETTERS, 1)
        assert plant.made("total") == {None: 1}


async def test_a_retry_makes_all_that_a_failure_left_incomplete(tmp_path: Path) -> None:
    days = TimePartitions("daily", start="2026-03-01", timezone="UTC", name="days")
    cells = MultiPartitions(day=days, shop=StaticPartitions(["a", "b"], name="shops"), name="cells")
    seen, bad = Counter[str](), {"2026-03-05"}

    @asset(partitions=cells)
    def r(ctx: Any) -> int:
        if ctx.partition.parts["day"].key in bad:
            raise ValueError("closed")
        return 1

    @asset(partitions=days)
    def t(r: dict[str, int]) -> int:
        return sum(r.values())

    @asset(partitions=days)
    def u(ctx: Any, t: Annotated[dict[str, int], Dep(mapping=TimeWindow(start=-1))]) -> int:
        seen[f"{ctx.partition.key}: {sorted(t.values())}"] += 1
        return 1

    async with rig(tmp_path, [r, t, u], clock=SimulatedClock(1_774_000_000.0), workers=4) as one:
        view = await begun(one, "t", partitions="2026-03-03..2026-03-08", upstream=True, downstream=True)
        await one.settle()
        view = await one.control.backfill(view.row.id)
        assert [(row.asset, row.done, row.failed, row.blocked) for row in view.assets] == [
            ("r", 10, 2, 0),
            ("t", 5, 0, 1),
            ("u", 5, 0, 2),
        ]
        bad.clear()
        again = await one.control.change_backfill(view.row.id, "retry")
        assert [(row.asset, row.wanted) for row in again.assets] == [("r", 2), ("t", 1), ("u", 2)]
        await one.settle()
        assert (await one.control.backfill(again.row.id)).row.state == "succeeded"
        whole = [f"2026-03-0{day}: {[2, 2] if day > 3 else [2]}" for day in range(3, 9)]
        assert seen == Counter([*whole, "2026-03-09: [2]"])
