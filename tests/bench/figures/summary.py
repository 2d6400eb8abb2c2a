"""The state of an asset with a million partitions, as the API tells it: the asset, its set, and pages of its keys."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.api import Api
from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.lab import Lab
from tests.bench.million import Filled, fill
from tests.bench.processes import loop_seconds

__all__ = ["FIGURE"]

_BAR = Bar(median=5)
_LOOP = Bar(p99=50)
_MANY = 1_000_000
_MIDDLE = _MANY // 2

_PLUGIN = """\
from freshet import DynamicPartitions, Freshness, asset

keys = DynamicPartitions("keys")


@asset(partitions=keys, freshness=Freshness(within="30d"))
def made(ctx):
    ctx.metadata(rows=3)
    return 1
"""

_OTHERS = {
    "the same, in the list of all assets": "assets",
    "the list of all sets": "partitions",
    "100 of its keys with their states": f"partitions/keys?after={_MIDDLE}",
    "1,000 of its keys with their states": f"partitions/keys?after={_MIDDLE}&limit=1000",
    "1,000 of its keys that failed": "partitions/keys?state=failed&limit=1000",
    "the daemon's status": "status",
    "the last 50 of its runs": "runs?target=made",
    "the last 1,000 of its runs": "runs?target=made&limit=1000",
}


def _measure(bench: Bench) -> Iterator[Row]:
    with bench.lab("summary", {"made.py": _PLUGIN}) as lab:
        lab.stop()
        filled = fill(lab.root / "state", "keys", ["made"], _MANY, history=True)
        lab.start()
        with lab.api() as api:
            _check(api, filled)
        count = bench.pick(500, 100)
        what = f"the state of an asset with {_MANY:,} partitions"
        yield Row.of(what, "ms", _anew(lab, "assets/made", count), _BAR, note="each on a connection of its own")
        for name, path in {"the same, on one connection": "assets/made", **_OTHERS}.items():
            took, held = _timed(lab, path, count)
            yield Row.of(f"  {name}", "ms", took, _BAR if path == "assets/made" else None)
            yield Row.of("    of it: CPU of the daemon's loop", "ms", held, _LOOP)


def _check(api: Api, filled: Filled) -> None:
    """What is measured is right."""
    found = api.get("assets/made")
    made = {"partitions": filled.partitions, "materialized": filled.made, "failed": filled.failed}
    counts = {**made, "in_progress": 0, "exhausted": 0}
    assert found["counts"] == counts, found["counts"]
    assert found["metadata"] == {"rows": 3}, found
    assert found["freshness"]["state"] == "fresh", found
    states = [one["states"]["made"] for one in api.get("partitions/keys?limit=1000")["partitions"]]
    assert states.count("materialized") == len(states) - 1, "the thousandth has failed"
    (last,) = api.get("runs?target=made&limit=1")
    assert last["state"] == "failed", last


def _anew(lab: Lab, path: str, count: int) -> list[float]:
    found = list[float]()
    for _ in range(count):
        began = time.perf_counter()
        with lab.api() as api:
            api.get(path)
        found.append((time.perf_counter() - began) * 1000)
    return found


def _timed(lab: Lab, path: str, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the answer, and those in which the daemon's loop did nothing else for it."""
    took, held = list[float](), list[float]()
    with lab.api() as api:
        for _ in range(count):
            before, began = loop_seconds(lab.pid), time.perf_counter()
            api.get(path)
            took.append((time.perf_counter() - began) * 1000)
            held.append((loop_seconds(lab.pid) - before) * 1000)
    return took, held


FIGURE = Figure("summary", "the state of an asset with a million partitions, read over the API", _measure)
