"""Trivial runs a second, by executor: fresh processes, kept ones, the inline loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.figures.graph import LAYERS, WIDTH, cascade
from tests.bench.figures.layered import ask, layered_plugin
from tests.bench.lab import Lab
from tests.bench.processes import cpu_seconds, own_seconds
from tests.bench.waiting import until

__all__ = ["FIGURE"]

_PLUGIN = """\
from pathlib import Path

from freshet import Process, RunRequest, job, sensor


@job
def fresh(n: int):
    pass


@job(executor=Process(reuse=True))
def reused(n: int):
    pass


@job(executor="inline")
async def inline(n: int):
    pass


@sensor(interval="1h")
async def burst(ctx):
    if not Path("go").exists():
        return
    target, many = Path("go").read_text().split()
    for number in range(int(many)):
        yield RunRequest(target=target, params={"n": number})
"""

_CASCADE = Bar(median=1)
_BARS = {"fresh": 400, "reused": 2000, "inline": 2000}


def _measure(bench: Bench) -> Iterator[Row]:
    many = bench.pick(5000, 1000)
    with bench.lab("executors", {"burst.py": _PLUGIN}) as lab:
        with lab.api() as api:
            until(lambda: api.get("sensors/burst")["ticks"] > 0, "the first look", timeout=30)
        for name, bar in _BARS.items():
            rates, daemon, all_of_it = list[float](), list[float](), list[float]()
            _burst(lab, name, 50)
            for _ in range(bench.pick(5, 1)):
                before, whole = own_seconds(lab.pid), cpu_seconds(lab.pid)
                rates.append(many / _burst(lab, name, many))
                daemon.append((own_seconds(lab.pid) - before) / many * 1e6)
                all_of_it.append((cpu_seconds(lab.pid) - whole) / many * 1e6)
            yield Row.of(f"trivial runs a second, {name}", "1/s", rates, Bar(median=bar, at_least=True))
            yield Row.of("  CPU of the daemon for one", "us", daemon, note="what other work does not change")
            yield Row.of("  CPU of all processes for one", "us", all_of_it)
    with bench.lab("executors-cascade", layered_plugin(LAYERS, WIDTH, executor="inline")) as lab:
        cascade(lab, 0)
        again = [cascade(lab, turn) for turn in range(1, bench.pick(5, 2) + 1)]
    yield Row.of("1,000 inline assets, roots asked for -> last made", "s", [took for took, _ in again], _CASCADE)
    yield Row.of("  CPU of all processes for it", "s", [used for _, used in again])


def _burst(lab: Lab, target: str, many: int) -> float:
    """Seconds from the first run's start to the last one's end."""
    (lab.root / "go").write_text(f"{target} {many}")
    before = _ended(lab, target)
    with lab.api() as api:
        tick = api.post("sensors/burst/tick")
        assert len(tick["runs"]) == many, f"the tick asked for {len(tick['runs'])} runs: {tick['error']}"

        until(lambda: _ended(lab, target) >= before + many, f"{many} runs to end", timeout=120, every=0.1)
        runs = list[Any]()
        while len(runs) < many:
            older = f"&before={runs[-1]['id']}" if runs else ""
            runs += api.get(f"runs?target={target}&limit={min(1000, many - len(runs))}{older}")
        assert all(run["state"] == "succeeded" for run in runs), "not all succeeded"
        seconds: float = max(run["ended_at"] for run in runs) - min(run["created_at"] for run in runs)
        return seconds


def _ended(lab: Lab, target: str) -> int:
    ((count,),) = ask(lab, "SELECT count(*) FROM steps WHERE name = ? AND state = 'succeeded'", target)
    return int(count)


FIGURE = Figure("executors", "trivial runs a second: fresh processes, kept ones, inline", _measure)
