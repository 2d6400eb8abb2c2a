"""From a file to the first line of the asset's function."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.figures.arrivals import copied, landing_plugin, latencies, renamed

__all__ = ["FIGURE"]

_AT_ONCE = Bar(median=10, p99=30)
_SETTLE = 250
_SETTLED = Bar(median=10 + _SETTLE, p99=30 + _SETTLE)
"""The first no more than its settle above the second."""


def _measure(bench: Bench) -> Iterator[Row]:
    count = bench.pick(250, 30)
    with bench.lab("latency-at-once", {"landing.py": landing_plugin("0s")}) as lab:
        yield Row.of('file renamed -> first line, settle="0s"', "ms", latencies(lab, count, renamed), _AT_ONCE)
    with bench.lab("latency-renamed", {"landing.py": landing_plugin(None)}) as lab:
        yield Row.of("file renamed -> first line, defaults", "ms", latencies(lab, count, renamed), _SETTLED)
    with bench.lab("latency-copied", {"landing.py": landing_plugin(None)}) as lab:
        values = latencies(lab, count, copied)
        yield Row.of("file copied -> first line, defaults", "ms", values, _SETTLED, note="settle is 250 ms of it")


FIGURE = Figure("latency", "a file arrives -> first line of the asset's function, 10 files a second", _measure)
