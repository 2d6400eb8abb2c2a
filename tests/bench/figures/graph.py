"""A thousand assets under ten roots: their cost at rest, and how long an update of the roots takes to reach all."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.figures.layered import ask, layered_plugin
from tests.bench.lab import Lab
from tests.bench.processes import cpu_seconds, running_seconds
from tests.bench.waiting import until

__all__ = ["FIGURE", "LAYERS", "WIDTH", "cascade", "idle_beside_empty"]

LAYERS, WIDTH = 100, 10
_MANY = LAYERS * WIDTH
_IDLE = Bar(median=0.02)
_CASCADE = Bar(median=5)
_WINDOW = 60.0
_CALM_DOWN = 5.0


def _measure(bench: Bench) -> Iterator[Row]:
    with bench.lab("graph", layered_plugin(LAYERS, WIDTH)) as lab:
        yield idle_beside_empty(bench, lab, f"{_MANY:,} eager assets", _IDLE)
        first, used = cascade(lab, 0)
        again = [cascade(lab, turn) for turn in range(1, bench.pick(5, 2) + 1)]
    note = f"{LAYERS} layers of {WIDTH}, two parents each; 2 workers, each step a process"
    yield Row.of("10 roots asked for -> last of 990 below made", "s", [first], _CASCADE, note=note)
    yield Row.of("  CPU of all processes for it", "s", [used])
    yield Row.of("  the same again, when all are there", "s", [took for took, _ in again], _CASCADE)
    yield Row.of("  CPU of all processes for it", "s", [used for _, used in again])


def idle_beside_empty(bench: Bench, lab: Lab, what: str, bar: Bar) -> Row:
    """What a daemon costs while nothing happens, less what one without plugins costs beside it in the same time."""
    with bench.lab(f"{lab.name}-empty", {}) as empty:
        lab.settle()
        time.sleep(_CALM_DOWN)
        seconds = bench.pick(int(_WINDOW), 20)
        before = [running_seconds(one.pid) for one in (lab, empty)]
        began = time.monotonic()
        time.sleep(seconds)
        full, bare = (running_seconds(one.pid) - was for one, was in zip((lab, empty), before, strict=True))
        scale = _WINDOW / (time.monotonic() - began)
    note = f"over {seconds} s; {full * scale:.3f} and {bare * scale:.3f} s"
    return Row.of(f"idle: CPU over 60 s, {what}, more than without", "s", [(full - bare) * scale], bar, note=note)


def cascade(lab: Lab, turn: int) -> tuple[float, float]:
    """Seconds from the request to the end of the last step, and of CPU. Each asset is made exactly once."""
    before = cpu_seconds(lab.pid)
    with lab.api() as api:
        began = time.time()
        api.post("runs", {"assets": [f"a0_{number}" for number in range(WIDTH)]})
        until(lambda: _made(lab) >= (turn + 1) * _MANY, f"{_MANY} steps to succeed", timeout=120, every=0.1)
    lab.settle()
    used = cpu_seconds(lab.pid) - before
    made = ask(lab, "SELECT a.name, count(*) FROM steps s JOIN assets a ON a.id = s.asset_id GROUP BY a.name")
    assert len(made) == _MANY, f"{len(made)} assets were made"
    others = [(name, times) for name, times in made if times != turn + 1]
    assert not others, f"made more than once by an update: {others[:5]}"
    ((ended,),) = ask(lab, "SELECT max(ended_at) FROM steps")
    return float(ended) - began, used


def _made(lab: Lab) -> int:
    ((count,),) = ask(lab, "SELECT count(*) FROM steps WHERE state = 'succeeded'")
    return int(count)


FIGURE = Figure(
    "graph", "1,000 eager assets in 100 layers: at rest, and an update of the roots to the last below", _measure
)
