"""Requests that wait: debounce, batch, throttle, overlap, templates; through restarts, pauses and deletions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import AddPartitions, Batch, DynamicPartitions, RunRequest, asset, job, sensor
from freshet.definitions.flow import Flow
from freshet.definitions.sensor import FunctionSensor
from freshet.engine import pending
from freshet.engine.clock import SimulatedClock
from freshet.engine.pending_plan import PendingPlan, plan_pending
from freshet.errors import DefinitionError
from freshet.store.records import StepToRun

pytestmark = pytest.mark.anyio

batches = DynamicPartitions("batches")


@job
def notify(ctx: Any, items: list[dict[str, Any]] | None = None, n: int = 0) -> None:
    """Does nothing."""


@asset(partitions=batches)
def raw(ctx: Any) -> None:
    """Has partitions."""


class Source:
    """What a sensor finds, in the order given; each look takes all of it."""

    def __init__(self, **options: Any) -> None:
        self.found: list[Any] = []
        self.looks = 0

        @sensor(name="landing", interval="1h", target="notify", **options)
        def landing(ctx: Any) -> Iterable[Any]:
            found, self.found = self.found, ([] if not ctx.dry_run else self.found)
            if found:
                ctx.cursor = (ctx.cursor or 0) + 1
            return found

        self.sensor: FunctionSensor = landing

    async def comes(self, found: Rig, *requests: Any) -> None:
        """Look, and find these."""
        self.found.extend(requests)
        await found.control.tick("landing")
        await found.settle()


def numbers(*values: int, **more: Any) -> list[RunRequest]:
    return [RunRequest(params={"n": n}, run_key=f"k{n}", **more) for n in values]


async def params(found: Rig) -> list[dict[str, Any]]:
    return [run.params for run in await found.runs()]


async def test_debounce_runs_the_last_once_it_is_quiet(tmp_path: Path) -> None:
    source = Source(debounce="5s")
    async with rig(tmp_path, [notify, source.sensor]) as found:
        for n in range(4):
            await source.comes(found, *numbers(n))
            await found.advance(4)
        assert await params(found) == []
        (state,) = found.control.sensors()
        assert (state.pending, state.lag) == (4, 4)
        assert state.lag_since == found.clock.now() - 16
        await found.advance(1)
        assert await params(found) == [{"n": 3}]
        assert found.control.sensors()[0].lag == 0
        await source.comes(found, *numbers(0, 1, 2, 3))  # the keys of those that it stands for are taken, too
        await found.advance(60)
        assert len(await found.runs()) == 1


async def test_debounce_goes_by_target_and_partition(tmp_path: Path) -> None:
    source = Source(debounce="5s")
    async with rig(tmp_path, [notify, raw, source.sensor]) as found:
        added = AddPartitions(batches, ["a", "b"])
        await source.comes(found, added, *(RunRequest("raw", partition=key) for key in "aba"))
        await found.advance(5)
        assert sorted(run.key or "" for run in await found.runs()) == ["a", "b"]


async def test_much_that_falls_due_at_once_is_planned_once_and_not_for_each_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[int] = []

    def plan(flow: Flow, groups: Any, begun: Any, now: float) -> PendingPlan:
        plans.append(len(groups))
        return plan_pending(flow, groups, begun, now)

    monkeypatch.setattr(pending, "plan_pending", plan)
    source = Source(debounce="5s")
    async with rig(tmp_path, [notify, raw, source.sensor], workers=8) as found:
        keys = [f"k{number}" for number in range(600)]
        await source.comes(found, AddPartitions(batches, keys), *(RunRequest("raw", partition=key) for key in keys))
        await found.advance(5)
        assert len(await found.runs()) == 600
        assert found.control.sensors()[0].lag == 0
    assert sum(plans) <= 3 * 600


async def test_many_requests_fold_into_one_in_pieces(tmp_path: Path) -> None:
    source = Source(debounce="5s")
    async with rig(tmp_path, [notify, source.sensor]) as found:
        await source.comes(found, *numbers(*range(2000)))
        await found.advance(5)
        assert await params(found) == [{"n": 1999}]
        assert found.control.sensors()[0].pending == 0


async def test_a_batch_is_full_or_old(tmp_path: Path) -> None:
    source = Source(batch=Batch(count=3, within="10s"))
    async with rig(tmp_path, [notify, source.sensor]) as found:
        await source.comes(found, *numbers(1, 2, 3, 4))
        assert await params(found) == [{"items": [{"n": 1}, {"n": 2}, {"n": 3}]}]
        await found.advance(9)
        await source.comes(found, *numbers(5, 1))
        await found.advance(1)
        assert (await params(found))[1:] == [{"items": [{"n": 4}, {"n": 5}]}]
        assert await found.states() == ["succeeded", "succeeded"]


async def test_throttle_lets_so_many_begin_in_a_period_in_order(tmp_path: Path) -> None:
    source = Source(throttle="2/10s")
    async with rig(tmp_path, [notify, source.sensor]) as found:
        await source.comes(found, *numbers(1, 2, 3, 4, 5))
        seen = [len(await found.runs())]
        for _ in range(2):
            await found.advance(9.9)
            seen.append(len(await found.runs()))
            await found.advance(0.1)
            seen.append(len(await found.runs()))
        assert seen == [2, 2, 4, 4, 5]
        assert await params(found) == [{"n": n} for n in range(1, 6)]


@pytest.mark.parametrize("options", [{"debounce": "5s"}, {"batch": "5s"}, {"throttle": "1/5s"}])
async def test_what_waits_survives_a_crash_and_runs_once(tmp_path: Path, options: dict[str, Any]) -> None:
    clock = SimulatedClock()
    source = Source(**options)
    async with rig(tmp_path, [notify, source.sensor], clock=clock, stop=False) as found:
        await source.comes(found, *numbers(1, 2, 3))
    again = Source(**options)
    async with rig(tmp_path, [notify, again.sensor], clock=clock) as found:
        await again.comes(found, *numbers(1, 2, 3))
        await found.advance(60)
        expected = {
            "debounce": [{"n": 3}],
            "batch": [{"items": [{"n": 1}, {"n": 2}, {"n": 3}]}],
            "throttle": [{"n": 1}, {"n": 2}, {"n": 3}],
        }
        assert await params(found) == expected[next(iter(options))]


async def test_a_throttle_remembers_what_began_before_a_restart(tmp_path: Path) -> None:
    clock = SimulatedClock()
    source = Source(throttle="1/1h")
    async with rig(tmp_path, [notify, source.sensor], clock=clock) as found:
        await source.comes(found, *numbers(1, 2))
    async with rig(tmp_path, [notify, Source(throttle="1/1h").sensor], clock=clock) as found:
        await found.advance(3599)
        assert len(await found.runs()) == 1
        await found.advance(1)
        assert len(await found.runs()) == 2


async def test_without_the_option_what_waited_runs_at_the_next_start(tmp_path: Path) -> None:
    clock = SimulatedClock()
    source = Source(debounce="1h")
    async with rig(tmp_path, [notify, source.sensor], clock=clock) as found:
        await source.comes(found, *numbers(1, 2))
    async with rig(tmp_path, [notify, Source().sensor], clock=clock) as found:
        assert await params(found) == [{"n": 1}, {"n": 2}]


async def test_a_paused_sensors_requests_wait_on(tmp_path: Path) -> None:
    source = Source(debounce="5s")
    async with rig(tmp_path, [notify, source.sensor]) as found:
        await source.comes(found, *numbers(1))
        await found.control.pause("landing")
        await found.advance(60)
        assert await params(found) == []
        await found.control.resume("landing")
        await found.settle()
        assert await params(found) == [{"n": 1}]


async def test_a_request_whose_partition_went_meanwhile_comes_to_nothing_by_itself(tmp_path: Path) -> None:
    source = Source(throttle="9/1m", debounce="5s")
    async with rig(tmp_path, [notify, raw, source.sensor]) as found:
        added = AddPartitions(batches, ["a", "b"])
        await source.comes(found, added, *(RunRequest("raw", partition=key, run_key=key) for key in "ab"))
        await found.control.delete_partitions("batches", ["a"])
        await found.advance(5)
        assert [run.key for run in await found.runs()] == ["b"]
        await source.comes(found, AddPartitions(batches, ["a"]), RunRequest("raw", partition="a", run_key="a"))
        await found.advance(5)
        assert [run.key for run in await found.runs()] == ["b", "a"], "it has let go of its run key"


async def test_a_request_for_what_is_not_there_fails_its_tick(tmp_path: Path) -> None:
    source = Source(debounce="5s")
    async with rig(tmp_path, [notify, raw, source.sensor]) as found:
        await source.comes(found, RunRequest("raw", partition="nowhere"))
        (state,) = found.control.sensors()
        assert state.status == "failing"
        assert "nowhere" in state.last_error["message"]
        assert state.pending == 0


# --- overlap ------------------------------------------------------------------------------------------------------


def ten_seconds(step: StepToRun) -> float:
    return 10.0


@pytest.mark.parametrize(
    ("overlap", "states"),
    [
        ("allow", ["succeeded", "succeeded", "succeeded"]),
        ("skip", ["succeeded"]),
        ("queue", ["succeeded", "succeeded", "succeeded"]),
        ("latest", ["succeeded", "canceled", "succeeded"]),
        ("cancel", ["canceled", "canceled", "succeeded"]),
    ],
)
async def test_overlap_decides_between_runs_of_one_target(tmp_path: Path, overlap: Any, states: list[str]) -> None:
    source = Source(overlap=overlap)
    workers = 1 if overlap == "latest" else 4
    async with rig(tmp_path, [notify, source.sensor], duration=ten_seconds, workers=workers) as found:
        for n in range(3):
            await source.comes(found, *numbers(n))
            await found.advance(1)
        running = sum(state == "started" for state in await found.states())
        assert running == (3 if overlap == "allow" else 1)
        await found.advance(60)
        assert await found.states() == states


async def test_a_skipped_request_keeps_no_run_key_and_shows_on_its_tick(tmp_path: Path) -> None:
    source = Source(overlap="skip")
    async with rig(tmp_path, [notify, source.sensor], duration=ten_seconds) as found:
        await source.comes(found, *numbers(1))
        source.found = numbers(2)
        report = await found.control.tick("landing")
        assert [(one["run_key"], one["held_by"], one["reason"]) for one in report.dropped] == [("k2", 1, "overlap")]
        await found.advance(10)
        await source.comes(found, *numbers(2))
        assert await params(found) == [{"n": 1}, {"n": 2}]


async def test_partitions_do_not_overlap_with_each_other(tmp_path: Path) -> None:
    source = Source(overlap="skip")
    async with rig(tmp_path, [notify, raw, source.sensor], duration=ten_seconds) as found:
        added = AddPartitions(batches, ["a", "b"])
        await source.comes(found, added, *(RunRequest("raw", partition=key) for key in "ab"))
        await source.comes(found, RunRequest("raw", partition="a"))
        assert [run.key for run in await found.runs()] == ["a", "b"]


async def test_runs_that_queue_do_so_again_after_a_crash(tmp_path: Path) -> None:
    clock = SimulatedClock()
    source = Source(overlap="queue")
    async with rig(tmp_path, [notify, source.sensor], clock=clock, duration=ten_seconds, stop=False) as found:
        await source.comes(found, *numbers(1, 2, 3))
        assert sorted(await found.states()) == ["queued", "queued", "started"]
    async with rig(tmp_path, [notify, Source(overlap="queue").sensor], clock=clock, duration=ten_seconds) as found:
        for left in (1, 1, 1, 0):
            assert sum(state == "started" for state in await found.states()) == left
            await found.advance(10)
        assert await found.states() == ["succeeded"] * 3


async def test_what_is_released_overlaps_as_what_begins_at_once(tmp_path: Path) -> None:
    source = Source(throttle="1/2s", overlap="skip")
    async with rig(tmp_path, [notify, source.sensor], duration=ten_seconds) as found:
        await source.comes(found, *numbers(1, 2))
        await found.advance(30)
        assert await params(found) == [{"n": 1}]


# --- templates ----------------------------------------------------------------------------------------------------


async def test_templates_fill_what_a_request_leaves_out(tmp_path: Path) -> None:
    source = Source(partition="{params.day}-{tags.kind}", run_key="{partition}@{etag}", params={"n": "{metadata.n}"})
    source.sensor.spec = replace(source.sensor.spec, target="raw")
    async with rig(tmp_path, [notify, raw, source.sensor]) as found:
        added = AddPartitions(batches, {"mon-x": {"etag": "9f", "n": 3}, "b": {"etag": "1", "n": 4}})
        asked = RunRequest(params={"day": "mon"}, tags={"kind": "x"})
        await source.comes(found, added, asked, asked, RunRequest(partition="b", params={"n": 9}))
        runs = await found.runs()
        assert [(run.key, run.run_key, run.params["n"]) for run in runs] == [("mon-x", "mon-x@9f", 3), ("b", "b@1", 9)]


async def test_a_template_that_cannot_be_filled_fails_the_tick_and_names_it(tmp_path: Path) -> None:
    source = Source(run_key="{tags.file}")
    async with rig(tmp_path, [notify, source.sensor]) as found:
        await source.comes(found, RunRequest(tags={"path": "x"}))
        (state,) = found.control.sensors()
        assert state.status == "failing"
        assert "{tags.file}" in state.last_error["message"]
        source.found = [RunRequest(tags={"path": "x"})]
        dry = await found.control.tick("landing", dry_run=True)
        assert dry.status == "failed"
        assert "tags.path" in dry.error["message"]


# --- dry run, declarations ----------------------------------------------------------------------------------------


async def test_a_dry_run_shows_what_would_wait_and_what_would_give_way(tmp_path: Path) -> None:
    source = Source(debounce="5s", run_key="{params.n}")
    async with rig(tmp_path, [notify, source.sensor]) as found:
        await source.comes(found, RunRequest(params={"n": 1}))
        source.found = [RunRequest(params={"n": n}) for n in (1, 2)]
        report = await found.control.tick("landing", dry_run=True)
        assert [one["run_key"] for one in report.pending] == ["2"]
        assert [one["run_key"] for one in report.dropped] == ["1"]
        assert report.runs == ()
        assert found.control.sensors()[0].pending == 1


@pytest.mark.parametrize(
    "options",
    [
        {"debounce": "0s"},
        {"debounce": 5},
        {"batch": 0},
        {"batch": True},
        {"batch": Batch(count=10**6)},
        {"batch": []},
        {"throttle": "fast"},
        {"throttle": "0/min"},
        {"throttle": "1/0s"},
        {"throttle": 10},
        {"overlap": "never"},
        {"run_key": "{"},
        {"partition": ""},
        {"params": {"a": ["{b c}"]}},
        {"params": "x"},
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="landing") as refused:
        Source(**options)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("raw", {"batch": 10}, "one run each"),
        ("plain", {"batch": 10}, "items"),
        ("notify", {"partition": "{params.n}"}, "no partitions"),
    ],
)
async def test_options_that_do_not_fit_the_target_are_refused(
    tmp_path: Path, target: str, options: dict[str, Any], said: str
) -> None:
    @job
    def plain(ctx: Any, n: int = 0) -> None:
        """Takes no items."""

    @sensor(target=target, **options)
    def landing(ctx: Any) -> None:
        """Finds nothing."""

    with pytest.raises(DefinitionError, match=said):
        async with rig(tmp_path, [notify, raw, plain, landing]):
            pass
