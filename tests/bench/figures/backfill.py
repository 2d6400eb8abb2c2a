"""A backfill of a million partitions: how soon it begins, how soon it answers, and what its runs cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from tests.bench.api import Api
from tests.bench.figure import Bar, Bench, Figure, Row

__all__ = ["FIGURE"]

_BEGUN = Bar(median=1000)
_READ = Bar(median=10)

_PLUGIN = """\
from freshet import TimePartitions, asset

minutes = TimePartitions("* * * * *", start="2024-06-01", timezone="UTC", name="minutes")
days = TimePartitions("daily", start="2024-06-01", timezone="UTC", name="days")


@asset(partitions=minutes)
def raw(ctx):
    return 1


@asset(partitions=minutes)
def clean(raw):
    return raw


@asset(partitions=days, deps=[clean])
def daily(ctx):
    return 1
"""


def _measure(bench: Bench) -> Iterator[Row]:
    begun, read, rates = list[float](), list[float](), list[float]()
    with bench.lab("backfill", {"minutes.py": _PLUGIN}) as lab, lab.api() as api:
        for _ in range(bench.pick(10, 2)):
            began = time.perf_counter()
            found = api.post("backfills", {"assets": ["raw"], "select": "all", "downstream": True})
            assert found["progress"][0]["wanted"] > 1_000_000, f"the range is shorter: {found}"
            where = f"backfills/{found['id']}"
            while not api.get(where)["runs"]:
                assert time.perf_counter() - began < 30, "no run of it was admitted"
            begun.append((time.perf_counter() - began) * 1000)
            rates.append(_rate(api, where, 2.0))
            for _ in range(20):
                began = time.perf_counter()
                api.get(where)
                read.append((time.perf_counter() - began) * 1000)
            api.post(f"{where}/cancel", {})
            lab.settle()
    yield Row.of("1,000,000 partitions, three assets: request -> first runs", "ms", begun, _BEGUN)
    yield Row.of("its progress, read while it runs", "ms", read, _READ)
    yield Row.of("its partitions that end", "1/s", rates)


def _rate(api: Api, where: str, seconds: float) -> float:
    before, began = _done(api.get(where)), time.perf_counter()
    time.sleep(seconds)
    return (_done(api.get(where)) - before) / (time.perf_counter() - began)


def _done(answer: Any) -> int:
    return sum(int(one["done"]) for one in answer["progress"])


FIGURE = Figure("backfill", "three assets over a million windows: planned, read, carried on", _measure)
