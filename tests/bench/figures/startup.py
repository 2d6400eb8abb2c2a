"""From the start of the process to ready."""

from __future__ import annotations

import compileall
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.figures.shipped import shipped_plugins

__all__ = ["FIGURE"]

_BAR = Bar(median=1.5)
_ROOT = Path(__file__).resolve().parents[3]


def _measure(bench: Bench) -> Iterator[Row]:
    for source in ("daemon", "sensors"):  # as the install does
        compileall.compile_dir(_ROOT / source, quiet=2)
    plugins, count = shipped_plugins(), bench.pick(9, 3)
    fresh, again = list[float](), list[float]()
    for _ in range(count):
        with bench.lab("startup", plugins, workers=None) as lab:
            lab.stop()
            again.append(lab.start())
            lab.stop()
            shutil.rmtree(lab.root / "state")
            fresh.append(lab.start())
    yield Row.of("cold start -> ready, empty state", "s", fresh, _BAR, note="shipped plugins, bytecode compiled")
    yield Row.of("start -> ready, on the state before", "s", again, _BAR)


FIGURE = Figure("startup", "start of the process -> /readyz answers 200", _measure)
