"""How many evaluations a second go through due heap, evaluator and outcome."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.lab import Lab

__all__ = ["FIGURE"]

_SENSORS = 1000
_BARS = {"async def": Bar(median=5000, at_least=True), "def": Bar(median=3000, at_least=True)}
_WARM_UP = 2.0


def _plugin(form: str) -> str:
    """A thousand sensors that are due a hundred times a second: more than can be done, so that the engine is busy."""
    return f"""\
from freshet import sensor


{form} nothing(ctx):
    pass


for number in range({_SENSORS}):
    sensor(name=f"nothing-{{number}}", interval="10ms")(nothing)
"""


def _measure(bench: Bench) -> Iterator[Row]:
    for form, bar in _BARS.items():
        with bench.lab(f"evaluations-{form.split()[0]}", {"nothing.py": _plugin(form)}) as lab:
            time.sleep(_WARM_UP)
            rates = [_rate(lab, 4.0) for _ in range(bench.pick(5, 1))]
        yield Row.of(f"evaluations of 1,000 no-op {form} sensors", "1/s", rates, bar)


def _rate(lab: Lab, seconds: float) -> float:
    first, began = _ticks(lab)
    time.sleep(seconds)
    last, ended = _ticks(lab)
    return (last - first) / (ended - began)


def _ticks(lab: Lab) -> tuple[int, float]:
    """Ticks so far, and the middle of the time in which that was answered."""
    with lab.api() as api:
        began = time.monotonic()
        sensors = api.get("sensors")
        ended = time.monotonic()
    failing = [one["name"] for one in sensors if one["failures"]]
    assert not failing, f"sensors fail: {failing[:5]}"
    return sum(one["ticks"] for one in sensors), (began + ended) / 2


FIGURE = Figure("evaluations", "1,000 no-op sensors, always due: evaluations per second", _measure)
