"""`ctx.map` over 10,000 trivial items: from the step's start to its end."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.lab import Lab
from tests.bench.processes import cpu_seconds
from tests.bench.waiting import until

__all__ = ["FIGURE"]

_PLUGIN = """\
from freshet import job


@job
def mapped(ctx, many: int):
    assert ctx.map(lambda number: number + 1, range(many)) == list(range(1, many + 1))


@job
def called(ctx, many: int):
    for number in range(many):
        ctx.call(nothing, number=number)


@job
def nothing(number: int):
    pass
"""


def _measure(bench: Bench) -> Iterator[Row]:
    many, calls = 10_000, bench.pick(300, 50)
    with bench.lab("mapped", {"mapped.py": _PLUGIN}) as lab:
        _seconds(lab, "mapped", 10)
        _seconds(lab, "called", 5)
        before = cpu_seconds(lab.pid)
        took = [_seconds(lab, "mapped", many) for _ in range(bench.pick(5, 1))]
        used = (cpu_seconds(lab.pid) - before) / len(took) / many * 1e6
        each = [_seconds(lab, "called", calls) / calls * 1e3 for _ in range(bench.pick(3, 1))]
    yield Row.of(f"ctx.map over {many:,} items", "s", took, Bar(median=5))
    yield Row.of("  CPU of all processes for an item", "us", [used])
    yield Row.of("ctx.call of a trivial job, one after the other, for each", "ms", each)


def _seconds(lab: Lab, job: str, many: int) -> float:
    with lab.api() as api:
        (number,) = api.post(f"jobs/{job}/call", {"params": {"many": many}})["runs"]
        until(lambda: api.get(f"runs/{number}")["ended_at"] is not None, f"{job} to end", timeout=120, every=0.05)
        run = api.get(f"runs/{number}")
    assert run["state"] == "succeeded", run
    (step,) = run["steps"]
    seconds: float = step["ended_at"] - step["started_at"]
    return seconds


FIGURE = Figure("mapped", "ctx.map over 10,000 items; ctx.call, one after the other", _measure)
