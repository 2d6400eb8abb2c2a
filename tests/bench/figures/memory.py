"""What the daemon holds in memory where a million keys have ten assets, all made and most of them automated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.lab import Lab
from tests.bench.million import fill
from tests.bench.processes import cpu_seconds, proportional_bytes, resident_bytes
from tests.bench.waiting import until

__all__ = ["FIGURE"]

_BAR = Bar(median=250)
_MANY = 1_000_000
_ASSETS = [f"a{number}" for number in range(10)]

_HEAD = """\
from freshet import AutomationCondition, DynamicPartitions, asset

keys = DynamicPartitions("keys")


@asset(partitions=keys)
def a0():
    return 1
"""
_BELOW = """

@asset(partitions=keys, automation=AutomationCondition.eager())
def {below}({above}):
    return {above}
"""
_PLUGIN = _HEAD + "".join(_BELOW.format(above=above, below=below) for above, below in pairwise(_ASSETS))


def _measure(bench: Bench) -> Iterator[Row]:
    ready, cpu, resident, proportional, most = (list[float]() for _ in range(5))
    with bench.lab("memory", {"ten.py": _PLUGIN}) as lab:
        lab.stop()
        fill(lab.root / "state", "keys", _ASSETS, _MANY, history=False)
        lab.start()  # the conditions look at everything for the first time, and remember it
        lab.settle()
        for _ in range(bench.pick(5, 1)):
            lab.stop()
            ready.append(lab.start())
            cpu.append(cpu_seconds(lab.pid))
            _arrive(lab)
            now, highest = resident_bytes(lab.pid)
            resident.append(now / 2**20)
            most.append(highest / 2**20)
            proportional.append(proportional_bytes(lab.pid)[lab.pid] / 2**20)
    what = f"{len(_ASSETS)} assets of {_MANY:,} partitions"
    note = "the daemon's process, after a key that came and went through all of them"
    yield Row.of(f"{what}: resident set size", "MiB", resident, _BAR, note=note)
    yield Row.of(f"{what}: proportional set size", "MiB", proportional, _BAR, note=note)
    yield Row.of("  the most that was resident so far", "MiB", most)
    yield Row.of(f"{what}: start -> ready", "s", ready)
    yield Row.of("  of it: CPU of all processes", "s", cpu)


def _arrive(lab: Lab) -> None:
    """A new key goes through all assets."""
    key = f"new-{time.time_ns()}"
    with lab.api() as api:
        before = api.get(f"assets/{_ASSETS[-1]}")["counts"]["materialized"]
        assert before >= 0.99 * _MANY, f"{before} are made"
        api.post("partitions/keys", {"keys": {key: {}}})
        api.post("runs", {"assets": [_ASSETS[0]], "partition": key})

        def through() -> bool:
            return bool(api.get(f"assets/{_ASSETS[-1]}")["counts"]["materialized"] == before + 1)

        until(through, "a new key to go through all assets", timeout=60, every=0.1)


FIGURE = Figure("memory", "the daemon's memory, and its start, with a million keys of ten assets", _measure)
