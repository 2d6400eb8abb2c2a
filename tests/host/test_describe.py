"""What plugins declare reaches the daemon as it was declared: sets, mappings and dependencies through JSON."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet import (
    All,
    ByDimension,
    Dep,
    DynamicPartitions,
    Identity,
    Keep,
    Last,
    MultiPartitions,
    StaticPartitions,
    TimePartitions,
    TimeWindow,
    asset,
)
from freshet.definitions.asset import Asset
from freshet.definitions.mapping import DimensionMapping, Mapping, Static
from freshet.definitions.partitions import Dimension, DimensionSet, PartitionsSpec
from freshet.executors.base import LoadReport
from freshet.executors.translate import load_report
from freshet.host.describe import catalog
from freshet.host.messages import Loaded

KEYS = st.text("abcé|=% 19", min_size=1, max_size=6).filter(lambda key: key == key.strip())
NAMES = st.text("abcxyz_", min_size=1, max_size=6)
ZONES = st.sampled_from([None, "UTC", "Europe/Berlin", "Asia/Kolkata"])


@st.composite
def dynamic_sets(draw: st.DrawFn) -> DimensionSet:
    keep = draw(st.sampled_from([None, "30d", "250ms", 1000, Keep(age="1h", count=3), Keep(count=1)]))
    return DynamicPartitions(draw(NAMES), keep=keep)


@st.composite
def static_sets(draw: st.DrawFn) -> DimensionSet:
    keys = draw(st.lists(KEYS, min_size=1, max_size=4, unique=True))
    return StaticPartitions(keys, name=draw(NAMES | st.just("")))


@st.composite
def time_sets(draw: st.DrawFn) -> DimensionSet:
    return TimePartitions(
        draw(st.sampled_from(["daily", "hourly", "weekly", "monthly", "30 6 * * MON"])),
        start=draw(st.sampled_from(["2026-01-01", "1999-12-31T06:00"])),
        timezone=draw(ZONES),
        end_offset=draw(st.integers(-3, 3)),
        name=draw(NAMES | st.none()),
    )


SINGLE = dynamic_sets() | static_sets() | time_sets()


@st.composite
def sets(draw: st.DrawFn) -> PartitionsSpec | None:
    kind = draw(st.sampled_from(["none", "single", "several"]))
    if kind == "several":
        names = NAMES.filter(lambda name: name not in ("name", "kind"))
        found = draw(st.dictionaries(names, SINGLE, min_size=2, max_size=3))
        return MultiPartitions([Dimension(*one) for one in found.items()], name=draw(NAMES | st.just("")))
    return draw(SINGLE) if kind == "single" else None


@st.composite
def inner_mappings(draw: st.DrawFn) -> DimensionMapping:
    match draw(st.integers(0, 4)):
        case 0:
            return Identity()
        case 1:
            return All()
        case 2:
            return Last()
        case 3:
            start = draw(st.integers(-5, 0))
            return TimeWindow(start, draw(st.integers(start, 5)))
        case _:
            keys: st.SearchStrategy[Any] = KEYS | st.lists(KEYS, max_size=3)
            return Static(draw(st.dictionaries(KEYS, keys, min_size=1, max_size=3)))


@st.composite
def mappings(draw: st.DrawFn) -> Mapping | None:
    match draw(st.integers(0, 2)):
        case 0:
            return None
        case 1:
            by = draw(st.dictionaries(NAMES, inner_mappings(), max_size=2))
            return ByDimension(draw(NAMES | st.just("")), tuple(by.items()))
        case _:
            return draw(inner_mappings())


def told(*assets: Asset) -> LoadReport:
    """What the daemon makes of what a host says; that it may not fit together is not the question."""
    made = catalog(assets, version="v")
    said = orjson.loads(
        orjson.dumps(Loaded(op="loaded", definitions=made.as_json(), problems=[], warnings=[], start_method="fork"))
    )
    return load_report(said, None)


@given(sets(), sets(), mappings())
@settings(deadline=None)
def test_sets_and_mappings_come_back_as_they_went(
    above: PartitionsSpec | None, below: PartitionsSpec | None, mapping: Mapping | None
) -> None:
    @asset(partitions=above)
    def raw() -> None: ...

    @asset(partitions=below, deps=[Dep("raw", mapping=mapping)])
    def made(raw: Any) -> None: ...

    report = told(raw, made)
    assert report.problems == ()
    assert report.definitions.assets == (raw.spec, made.spec)
    for sent, back in zip((raw.spec, made.spec), report.definitions.assets, strict=True):
        assert type(back.partitions) is type(sent.partitions)
        assert repr(back) == repr(sent), "sources too, which do not count in comparisons"
    assert report.definitions.asset["made"].deps[0].mapping == mapping
    assert type(report.definitions.asset["made"].deps[0].mapping) is type(mapping)
    assert report.definitions.resolved("Asia/Tokyo").assets == catalog_resolved(raw, made)


def catalog_resolved(*assets: Asset) -> Any:
    return catalog(assets, version="v").definitions.resolved("Asia/Tokyo").assets
