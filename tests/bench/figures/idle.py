"""What the daemon costs while nothing happens."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.figures.shipped import shipped_plugins
from tests.bench.processes import cpu_seconds, proportional_bytes

__all__ = ["FIGURE"]

_MEMORY = Bar(median=150)
_CPU = Bar(median=0.3)
_WINDOW = 60.0
_CALM_DOWN = 5.0
"""Seconds for what the start left to do: workers forked ahead, caches filled."""


def _measure(bench: Bench) -> Iterator[Row]:
    with bench.lab("idle", shipped_plugins(), workers=None) as lab:
        lab.settle()
        time.sleep(_CALM_DOWN)
        seconds = float(bench.pick(int(_WINDOW), 10))
        before = cpu_seconds(lab.pid)
        began = time.monotonic()
        time.sleep(seconds)
        used = cpu_seconds(lab.pid) - before
        scale = _WINDOW / (time.monotonic() - began)
        sizes = proportional_bytes(lab.pid)
        assert sizes, "the sizes of other processes cannot be read here"
        parts = ", ".join(f"{size / 2**20:.0f}" for size in sizes.values())
    total = sum(sizes.values()) / 2**20
    yield Row.of(f"idle: proportional set size, {len(sizes)} processes", "MiB", [total], _MEMORY, note=parts)
    note = f"over {seconds:g} s, in ticks of 10 ms a process"
    yield Row.of("idle: CPU of all processes over 60 s", "s", [used * scale], _CPU, note=note)


FIGURE = Figure("idle", "memory and CPU of all processes while nothing happens, shipped plugins", _measure)
