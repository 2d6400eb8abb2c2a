"""A thousand partitions of a trivial asset, asked for in one tick."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.lab import Lab
from tests.bench.processes import cpu_seconds
from tests.bench.waiting import until

__all__ = ["FIGURE"]

_BAR = Bar(median=4)
_MANY = 1000
_PAGE = 1000

_PLUGIN = f"""\
from pathlib import Path

from freshet import AddPartitions, DynamicPartitions, RunRequest, asset, sensor

keys = DynamicPartitions("keys")


@asset(partitions=keys)
def trivial():
    return 1


@sensor(interval="1h", partitions=keys, target=trivial)
async def burst(ctx):
    if not Path("go").exists():
        return
    ctx.cursor = (ctx.cursor or 0) + 1
    found = [f"{{ctx.cursor}}-{{number}}" for number in range({_MANY})]
    yield AddPartitions(keys, found)
    for key in found:
        yield RunRequest(partition=key)
"""


def _measure(bench: Bench) -> Iterator[Row]:
    seconds, commits, cpu = list[float](), list[float](), list[float]()
    with bench.lab("thousand", {"burst.py": _PLUGIN}) as lab:
        _let_go(lab)
        for turn in range(1, bench.pick(5, 1) + 1):
            before = cpu_seconds(lab.pid)
            whole, commit = _burst(lab, turn)
            cpu.append(cpu_seconds(lab.pid) - before)
            seconds.append(whole)
            commits.append(commit * 1000)
    yield Row.of("1,000 partitions, request -> last done", "s", seconds, _BAR, note="2 workers, each step a process")
    yield Row.of("  of it: the tick that asks for them", "ms", commits)
    yield Row.of("  CPU of all processes for it", "s", cpu, note="what other work on the machine does not change")


def _let_go(lab: Lab) -> None:
    """From here on the sensor asks for runs; the look that every start begins with is over."""
    with lab.api() as api:
        until(lambda: api.get("sensors/burst")["ticks"] > 0, "the first look", timeout=30)
    (lab.root / "go").touch()


def _burst(lab: Lab, turn: int) -> tuple[float, float]:
    """Seconds to the end of the last run, and to the answer of the tick."""
    with lab.api() as api:
        began = time.time()
        tick = api.post("sensors/burst/tick")
        answered = time.time()
        assert len(tick["runs"]) == _MANY, f"the tick asked for {len(tick['runs'])} runs: {tick['error']}"

        def done() -> bool:
            status = api.get("status")
            return bool(status["queued"] == 0 and status["running"] == 0)

        until(done, f"{_MANY} runs to end", timeout=120, every=0.25)  # the runs themselves say when they ended
        runs = api.get(f"runs?target=trivial&limit={_PAGE}")
        assert len(runs) == _MANY, f"turn {turn}: {len(runs)} runs"
        assert all(run["state"] == "succeeded" for run in runs), f"turn {turn}: not all succeeded"
        assert {run["partition"].partition("-")[0] for run in runs} == {str(turn)}, f"turn {turn}: other runs"
        return max(run["ended_at"] for run in runs) - began, answered - began


FIGURE = Figure("thousand", "1,000 partitions of a trivial asset, from request to last done", _measure)
