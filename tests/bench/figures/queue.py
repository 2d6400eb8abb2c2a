"""The next of many queued runs: from a free slot to its start, committed. The real store, the real queue, no daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
from tests.bench.figure import Bar, Bench, Figure, Row

from freshet.definitions.limits import Limits, PoolLimit
from freshet.definitions.pool import PoolUse, StepUse
from freshet.engine.queue import RunQueue
from freshet.store.admission import admit
from freshet.store.records import QueuedStep, RunToAdmit, StepToAdmit
from freshet.store.steps import queued_runs, queued_steps, start_steps
from freshet.store.store import Store

__all__ = ["FIGURE"]

_DISPATCH, _NEXT = Bar(median=3.0), Bar(median=5.0)
_LIMITS = Limits({"db": PoolLimit(2), "shut": PoolLimit(0)}, runs=8, tags={"customer": 1})
_USES = {"query": StepUse(PoolUse("db")), "never": StepUse(PoolUse("shut"))}
_AT_ONCE = 1000


def _measure(bench: Bench) -> Iterator[Row]:
    starts = bench.pick(300, 50)
    for label, count, bar in (
        ("dispatch of one run", 0, _DISPATCH),
        (f"the next of {100_000:,} queued", 100_000, _NEXT),
    ):
        loading, seconds = anyio.run(_next_of, bench.scratch / f"queue-{count}", count + 2 * starts, starts)
        yield Row.of(label, "ms", [1000 * one for one in seconds], bar)
        if count:
            yield Row.of("  read at the start", "s", [loading])


async def _next_of(folder: Path, count: int, starts: int) -> tuple[float, list[float]]:
    """Seconds until all that is queued is in the queue, and for each start."""
    folder.mkdir()
    store = await Store.open(folder / "freshet.db", now=1.0)
    try:
        for first in range(0, count, _AT_ONCE):
            runs = [_run(number) for number in range(first, min(count, first + _AT_ONCE))]
            await store.write(partial(admit, runs=runs, start=0, needs={}, now=1.0, version="v"))
        began = time.perf_counter()
        queue = RunQueue(2, _LIMITS, open=True)
        for run in await store.read(queued_runs):
            queue.register(run.id, run.origin, priority=run.priority, tags=run.tags)
        for step in await store.read(queued_steps):
            queue.put(step, use=_USES.get(step.name))
        loading = time.perf_counter() - began
        running = await _start(store, queue)
        seconds: list[float] = []
        for _ in range(starts):
            ended = running.pop(0)
            began = time.perf_counter()
            queue.release((ended.run_id, ended.position))
            queue.left(ended.run_id)
            running += await _start(store, queue)
            seconds.append(time.perf_counter() - began)
        return loading, seconds
    finally:
        await store.close()


def _run(number: int) -> RunToAdmit:
    name = ("work", "query", "never")[number % 3]
    tags = {"customer": str(number % 5000)}
    return RunToAdmit("job", name, (StepToAdmit(name),), f"sensor:{number % 7}", tags=tags, priority=number % 2)


async def _start(store: Store, queue: RunQueue) -> list[QueuedStep]:
    taken = queue.take()
    steps = [(step.run_id, step.position) for step in taken]
    started = await store.write(partial(start_steps, steps=steps, needs={}, now=2.0, version="v"))
    assert len(started.steps) == len(taken) > 0
    return taken


FIGURE = Figure("queue", "a slot that is free until the next queued run has started, limits and all", _measure)
