"""A million partitions of one asset: from an event, and from all being missing, to the decision."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

from pyroaring import BitMap
from tests.bench.figure import Bar, Bench, Figure, Row

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.graph import Definitions, validate
from freshet.definitions.partitions import DynamicPartitions
from freshet.engine.automation import Automation
from freshet.store.records import AssetBits, Event, SetState

__all__ = ["FIGURE"]

_MANY = 1_000_000
_EVENT = Bar(median=2)
_MISSING = Bar(median=50)
_KEYS = DynamicPartitions("keys")
_EAGER = AutomationCondition.eager()


def _measure(bench: Bench) -> Iterator[Row]:
    live = {"keys": SetState("keys", "dynamic", BitMap(range(1, _MANY + 1)))}
    missing = [_all_missing(live) for _ in range(bench.pick(20, 5))]
    yield Row.of(f"{_MANY:,} partitions, all missing -> decision", "ms", missing, _MISSING, note="one bitmap")
    events = _events(live, bench.pick(1000, 200))
    yield Row.of("  one materialization above -> decision", "ms", events, _EVENT)


def _all_missing(live: dict[str, SetState]) -> float:
    """Milliseconds of the first look."""
    automation = Automation(_checked(AssetSpec("made", partitions=_KEYS, automation=_EAGER)))
    automation.load({}, live, [], [], 0)
    began = time.perf_counter()
    (request,) = automation.timer(0.0).requests
    took = time.perf_counter() - began
    assert isinstance(request.partition, BitMap), "a run for each partition"
    assert len(request.partition) == _MANY
    return took * 1000


def _events(live: dict[str, SetState], many: int) -> list[float]:
    """Milliseconds from an event to what is asked for below it, over everything that is there."""
    below = AssetSpec("made", (DepSpec("raw"),), partitions=_KEYS, automation=_EAGER)
    automation = Automation(_checked(AssetSpec("raw", partitions=_KEYS), below))
    there = AssetBits(BitMap(range(1, _MANY + 1)), BitMap(), BitMap(), 1)
    automation.load({"raw": there, "made": there}, live, [], [], 1)
    automation.timer(0.0)
    found, seq = list[float](), count(2)
    for turn in range(many):
        partition, number = 1 + turn * 997 % _MANY, next(seq)
        event = Event(number, number, 1.0, "materialized", asset="raw", partition=partition, run_id=number)
        began = time.perf_counter()
        (request,) = automation.evaluate([event], 1.0).requests
        found.append((time.perf_counter() - began) * 1000)
        assert request.assets == ("made",) and request.partition == BitMap([partition]), request
    return found


def _checked(*assets: AssetSpec) -> Definitions:
    definitions = Definitions(assets=assets)
    assert not validate(definitions)
    return definitions


FIGURE = Figure("million", "one asset of 1,000,000 partitions: an event to its decision, and all missing", _measure)
