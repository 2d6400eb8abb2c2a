"""From asking for a trivial run to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.figure import Bar, Bench, Figure, Row

__all__ = ["FIGURE"]

_BAR = Bar(median=10)
_WARM_UP = 5

_PLUGIN = """\
from freshet import asset


@asset
def trivial():
    return 1
"""


def _measure(bench: Bench) -> Iterator[Row]:
    outside, inside = list[float](), list[float]()
    with bench.lab("request", {"trivial.py": _PLUGIN}) as lab, lab.api() as api:
        for number in range(_WARM_UP + bench.pick(300, 50)):
            began = time.perf_counter()
            (run_id,) = api.post("runs", {"assets": ["trivial"]})["runs"]
            run = api.get(f"runs/{run_id}/wait?timeout=30")
            ended = time.perf_counter()
            assert run["state"] == "succeeded", f"the run ended otherwise: {run}"
            if number >= _WARM_UP:
                outside.append((ended - began) * 1000)
                inside.append((run["ended_at"] - run["created_at"]) * 1000)
    yield Row.of("request -> done, one trivial run", "ms", outside, _BAR, note="two HTTP requests, as a client sees it")
    yield Row.of("  of it: created -> ended, by the daemon", "ms", inside)


FIGURE = Figure("request", "POST materialize -> run ended, one after the other", _measure)
