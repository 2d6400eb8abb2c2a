"""How many evaluations a second go through due heap, evaluator and outcome."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.api import Api
from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.lab import Lab

__all__ = ["FIGURE"]

_SENSORS = 1000
_BARS = {"async def": Bar(median=5000, at_least=True), "def": Bar(median=3000, at_least=True)}
_WARM_UP = 2.0


def _plugin(form: str) -> str:
    """A thousand sensors that are due a hundred times a second: more than can be done, so that the engine is busy."""
    return f"""\
from freshet import Skip, sensor

calls = 0


{form} nothing(ctx):
    global calls
    calls += 1


for number in range({_SENSORS}):
    sensor(name=f"nothing-{{number}}", interval="10ms")(nothing)


@sensor(interval="1h")
async def tally(ctx):
    yield Skip(str(calls))
"""


def _measure(bench: Bench) -> Iterator[Row]:
    for form, bar in _BARS.items():
        with bench.lab(f"evaluations-{form.split()[0]}", {"nothing.py": _plugin(form)}) as lab:
            time.sleep(_WARM_UP)
            rates = [_rate(lab, 4.0) for _ in range(bench.pick(5, 1))]
        yield Row.of(f"evaluations of 1,000 no-op {form} sensors", "1/s", rates, bar)


def _rate(lab: Lab, seconds: float) -> float:
    """Ticks a second that the engine counted. The functions themselves count too, and must come to the same."""
    with lab.api() as api:
        calls, first, began = _calls(api), *_ticks(api)
        time.sleep(seconds)
        last, ended, called = *_ticks(api), _calls(api) - calls
    counted = last - first
    assert abs(called - counted) < 0.1 * counted, f"{counted} ticks, but {called} calls"
    return counted / (ended - began)


def _ticks(api: Api) -> tuple[int, float]:
    """Ticks so far, and the middle of the time in which that was answered."""
    began = time.monotonic()
    sensors = api.get("sensors")
    ended = time.monotonic()
    failing = [one["name"] for one in sensors if one["failures"]]
    assert not failing, f"sensors fail: {failing[:5]}"
    return sum(one["ticks"] for one in sensors), (began + ended) / 2


def _calls(api: Api) -> int:
    """Calls so far, as the evaluator knows them."""
    return int(api.post("sensors/tally/tick")["skip"])


FIGURE = Figure("evaluations", "1,000 no-op sensors, always due: evaluations per second", _measure)
