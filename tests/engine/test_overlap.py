"""Two runs never make the same partition at once, unless it is declared so; whoever asks for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.rig import Rig, rig

from freshet import AutomationCondition, DynamicPartitions, RunRequest, Schedule, asset, job, sensor
from freshet.engine.clock import SimulatedClock
from freshet.errors import Conflict, DefinitionError
from freshet.store.records import StepToRun

pytestmark = pytest.mark.anyio


class Under:
    """Which steps are under way; each takes ten seconds."""

    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.until: list[tuple[float, tuple[str, str | None]]] = []
        self.most = Counter[tuple[str, str | None]]()

    def __call__(self, step: StepToRun) -> float:
        now, made = self.clock.now(), (step.name, step.key)
        self.until = [(end, one) for end, one in self.until if end > now] + [(now + 10.0, made)]
        self.most[made] = max(self.most[made], sum(one == made for _, one in self.until))
        return 10.0


days = DynamicPartitions("days")


def _things(overlap: Any) -> list[object]:
    @asset(partitions=days, overlap=overlap)
    def raw() -> int:
        return 1

    @job(overlap=overlap)
    def note() -> None: ...

    return [raw, note]


async def _ask(one: Rig, target: str, key: str = "a") -> int:
    if target == "note":
        return await one.control.call("note", {})
    (number,) = await one.control.materialize(("raw",), key=key)
    return number


@pytest.mark.parametrize("target", ["raw", "note"])
@pytest.mark.parametrize(
    ("overlap", "at_once", "later"),
    [
        ("allow", ["started", "started", "started"], ["succeeded", "succeeded", "succeeded"]),
        ("queue", ["started", "queued", "queued"], ["succeeded", "started", "queued"]),
        ("latest", ["started", "canceled", "queued"], ["succeeded", "canceled", "started"]),
        ("cancel", ["canceled", "canceled", "started"], ["canceled", "canceled", "succeeded"]),
    ],
)
async def test_runs_by_hand_overlap_as_their_target_says(
    tmp_path: Path, target: str, overlap: Any, at_once: list[str], later: list[str]
) -> None:
    under = Under()
    async with rig(tmp_path, _things(overlap), clock=under.clock, workers=8, duration=under) as one:
        await one.control.add_partitions("days", {"a": {}, "b": {}})
        for _ in range(3):
            await _ask(one, target)
            await one.settle()
        assert await one.states() == at_once
        await one.advance(11)
        assert await one.states() == later
        await one.advance(60)
        assert set(await one.states()) <= {"succeeded", "canceled"}


@pytest.mark.parametrize("target", ["raw", "note"])
async def test_who_asks_for_what_is_to_be_skipped_is_told_by_which_run(tmp_path: Path, target: str) -> None:
    under = Under()
    async with rig(tmp_path, _things("skip"), clock=under.clock, workers=8, duration=under) as one:
        await one.control.add_partitions("days", {"a": {}, "b": {}})
        first = await _ask(one, target)
        with pytest.raises(Conflict, match=f"run {first} of '{target}' has not ended") as caught:
            await _ask(one, target)
        assert caught.value.hint == f"freshet cancel {first} ends it"
        if target == "raw":
            await _ask(one, target, "b")
        await one.advance(11)
        assert await _ask(one, target) > first
        await one.advance(11)
        assert set(await one.states()) == {"succeeded"}


async def test_a_run_that_waits_says_for_whom(tmp_path: Path) -> None:
    under = Under()
    async with rig(tmp_path, _things("queue"), clock=under.clock, workers=8, duration=under) as one:
        await one.control.add_partitions("days", {"a": {}, "b": {}})
        first, second = [await _ask(one, "raw") for _ in range(2)]
        other = await _ask(one, "raw", "b")
        await one.settle()
        assert await one.states() == ["started", "queued", "started"]
        found = one.control.blocked(second)
        assert found is not None
        said = f"waits until run {first} does not make raw any more"
        assert (found.kind, found.name, found.text) == ("overlap", "raw", said)
        assert one.control.blocked(other) is None
        assert (why := (await one.control.why("raw", "a")).blocked) is not None and why.text == said


async def test_it_does_not_matter_who_asks(tmp_path: Path) -> None:
    """Also not whether a partition is named by its key or its number, known or just added."""
    under = Under()

    @asset(partitions=days)
    def raw() -> int:
        return 1

    @asset(partitions=days, automation=AutomationCondition.eager())
    def clean(raw: int = 0) -> int:
        return raw

    @asset(automation=AutomationCondition.eager())
    def total(clean: dict[str, int]) -> int:
        return sum(clean.values())

    @job
    async def remake(ctx: Any, key: str) -> None:
        await ctx.call("raw", partition=key)

    def again(ctx: Any) -> Any:
        ctx.cursor = (ctx.cursor or 0) + 1
        if ctx.cursor <= 5:
            for key in ("a", "b"):
                yield RunRequest("raw", partition=key)
                yield RunRequest("clean", partition=key)

    sensors = [sensor(name=name, interval="4s")(again) for name in ("one", "two")]
    minutely = Schedule("minutely", every="15s", target="total")
    things = [raw, clean, total, remake, *sensors, minutely]
    async with rig(tmp_path, things, clock=under.clock, workers=20, duration=under) as one:
        await one.control.add_partitions("days", {"a": {}, "b": {}})
        for turn in range(6):
            await one.control.materialize(("raw", "clean"), key="a")
            await one.control.call("remake", {"key": "b"})
            await one.control.materialize(("total",))
            await one.advance(3.0 + turn)
        await one.advance(1000)
        assert {run.state for run in await one.runs() if run.origin != "schedule:minutely"} == {"succeeded"}
        kept = {name: count for (name, _), count in under.most.items() if name != "remake"}
        assert kept == {"raw": 1, "clean": 1, "total": 1}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["raw", "raw clean", "free"]), st.integers(0, 12)),
        min_size=1,
        max_size=14,
    ),
    workers=st.integers(1, 4),
    cut=st.booleans(),
    order=st.randoms(use_true_random=False),
)
async def test_never_twice_and_never_idle(
    tmp_path_factory: pytest.TempPathFactory,
    asked: Sequence[tuple[str, str, int]],
    workers: int,
    cut: bool,
    order: Random,
) -> None:
    """Runs of one or two assets by hand, with retries and a kill in the middle."""
    folder, under = tmp_path_factory.mktemp("overlap"), Under()

    @asset(partitions=days, retries=3)
    def raw() -> int:
        if order.random() < 0.2:
            raise ValueError("once more")
        return 1

    @asset(partitions=days)
    def clean(raw: int) -> int:
        return raw

    @asset(partitions=days, overlap="allow")
    def free() -> int:
        return 1

    async def looks_right(one: Rig) -> None:
        launcher = one.engine.launcher
        made = Counter((step.name, step.partition) for step in launcher.running.values() if step.name != "free")
        assert max(made.values(), default=0) <= 1
        if launcher.queue.room("process"):
            for run in await one.runs():
                if launcher.queue.waits(run.id):
                    found = one.control.blocked(run.id)
                    assert found is None or found.kind in ("overlap", "retry"), found

    things = [raw, clean, free]
    half = len(asked) // 2 if cut else len(asked)
    async with rig(folder, things, clock=under.clock, workers=workers, duration=under, stop=not cut) as one:
        await one.control.add_partitions("days", {"a": {}, "b": {}})
        for key, names, seconds in asked[:half]:
            await one.control.materialize(tuple(names.split()), key=key)
            await looks_right(one)
            await one.advance(seconds)
            await looks_right(one)
        if not cut:
            await one.advance(5000)
            assert set(await one.states()) <= {"succeeded", "failed"}
    if cut:
        async with rig(folder, things, clock=under.clock, workers=workers, duration=under) as one:
            for key, names, seconds in asked[half:]:
                await looks_right(one)
                await one.control.materialize(tuple(names.split()), key=key)
                await one.advance(seconds)
            await one.advance(5000)
            assert set(await one.states()) <= {"succeeded", "failed"}


async def test_what_rests_makes_its_partition_still_and_a_call_of_itself_is_refused(tmp_path: Path) -> None:
    under = Under()

    @job
    def slow() -> None: ...

    @asset
    async def made(ctx: Any) -> int:
        await ctx.call("slow")
        return 1

    @job
    async def makes(ctx: Any) -> None:
        await ctx.call("loops")

    @asset
    async def loops(ctx: Any) -> int:
        await ctx.call("makes")
        return 1

    async with rig(tmp_path, [slow, made, makes, loops], clock=under.clock, workers=8, duration=under) as one:
        (first,) = await one.control.materialize(("made",))
        (second,) = await one.control.materialize(("made",))
        await one.settle()
        assert one.blocked_by(second) == f"waits until run {first} does not make made any more"
        await one.advance(60)
        assert set(await one.states("made")) == {"succeeded"}
        (run,) = await one.control.materialize(("loops",))
        await one.advance(60)
        assert [one.state for one in await one.runs("loops")] == ["failed"]
        (failed,) = await one.runs("makes")
        error: Any = failed.steps[0].error
        assert f"run {run} makes 'loops' now, and waits for this one" in error["message"]


def test_a_policy_that_there_is_not_is_refused() -> None:
    with pytest.raises(DefinitionError, match="asset raw: overlap='que' is unknown") as caught:
        _things("que")
    assert "queue" in caught.value.hint
