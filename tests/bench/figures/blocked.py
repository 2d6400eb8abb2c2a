"""What a sensor that blocks every time does to the others."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.figures.arrivals import landing_plugin, latencies, renamed

__all__ = ["FIGURE"]

_BAR = Bar(p99=500)

_BLOCKER = """\
import time
from pathlib import Path

from freshet import sensor


@sensor(interval="1s", timeout="60s")
async def blocker(ctx):
    if Path("block").exists():
        time.sleep(5)
"""


def _measure(bench: Bench) -> Iterator[Row]:
    plugins = {"landing.py": landing_plugin("0s"), "blocker.py": _BLOCKER}
    count = bench.pick(300, 60)
    with bench.lab("blocked", plugins) as lab:
        (lab.root / "block").touch()  # the first block, which nobody could foresee, is among what is measured
        values = latencies(lab, count, renamed)
        with lab.api() as api:
            blocker = api.get("sensors/blocker")
        assert blocker["failures"] or blocker["isolated"], f"the blocker did not block: {blocker}"
        yield Row.of("the same beside a sensor that blocks", "ms", values, _BAR)


FIGURE = Figure("blocked", "a file arrives -> first line, beside an async sensor that blocks 5 s every time", _measure)
