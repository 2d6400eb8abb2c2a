"""Partitions in several dimensions: keys, and nothing enumerated."""

from __future__ import annotations

import subprocess
import sys

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pyroaring import BitMap

from freshet import (
    DefinitionError,
    DynamicPartitions,
    MultiPartitions,
    PartitionKeyError,
    StaticPartitions,
    TimePartitions,
    check_key,
)
from freshet.definitions.partitions import PartitionsSpec
from freshet.engine.partitions.combinations import Box, Combinations

DAYS = TimePartitions("daily", "2026-01-01", timezone="UTC")
REGIONS = StaticPartitions(["eu", "us|can", "50%=half"], name="regions")
SHOPS = DynamicPartitions("shops")
SALES = MultiPartitions(day=DAYS, region=REGIONS, shop=SHOPS)

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=25).filter(
    lambda text: not text.startswith(".")
)


@given(region=st.sampled_from(REGIONS.keys), shop=texts.map(check_key))
def test_keys_go_both_ways(region: str, shop: str) -> None:
    parts = {"day": "2026-03-29", "region": region, "shop": shop}
    key = SALES.key(parts)
    assert SALES.parse(key) == parts and list(SALES.parse(key)) == ["day", "region", "shop"]
    assert check_key(key) == key


def test_the_form() -> None:
    key = SALES.key({"shop": "7", "region": "us|can", "day": "2026-03-29"})
    assert key == "day=2026-03-29|region=us%7Ccan|shop=7"
    assert SALES.key({"shop": "a=b", "region": "50%=half", "day": "2026-03-29"}).endswith("50%25%3Dhalf|shop=a%3Db")
    assert SALES.key(SALES.parse("shop=7|day=2026-03-29|region=us%7Ccan")) == key


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("2026-03-29", "day=...|region=...|shop=..."),
        ("day=2026-03-29|region=eu", "'shop' is missing"),
        ("day=2026-03-29|region=eu|shop=1|shop=2", "twice"),
        ("day=2026-03-29|regoin=eu|shop=1", "did you mean 'region'?"),
        ("day=2026-03-29|region=50%25=half|shop=1", "no dimension"),
        ("day=2026-03-29|region=uz|shop=1", "known are: 50%=half, eu"),
        ("day=2026-02-30|region=eu|shop=1", "2026-03-29"),
        ("day=2026-03-29|region=eu|shop=%41", "no dimension"),
        ("day=2026-03-29|region=eu|shop=a=b", "no dimension"),
        ("day=2026-03-29|region=eu|shop=.x", "dot"),
        ("day=2026-03-29|region=eu|shop=", "empty"),
        ("day=2026-03-29|region=eu|shop=a\nb", "control"),
        ("x" * 10_000, "the limit is 200"),
    ],
)
def test_no_keys(key: str, says: str) -> None:
    with pytest.raises(PartitionKeyError) as caught:
        SALES.parse(key)
    assert says in str(caught.value) and len(str(caught.value)) < 300


def test_a_product_is_counted_only() -> None:
    assert SALES.count({"day": 3650, "region": 3, "shop": 10**6}) == 10_950_000_000
    assert SALES.needs_ranges({"day": 3650, "region": 3, "shop": 10**6})
    assert not SALES.needs_ranges({"day": 1000, "region": 100, "shop": 100})


def test_names_follow_the_dimensions() -> None:
    same = MultiPartitions(day=DAYS, region=REGIONS, shop=SHOPS)
    other = MultiPartitions(day=TimePartitions("daily", "2026-01-01"), region=REGIONS)
    assert same == SALES and same.name != MultiPartitions(region=REGIONS, day=DAYS, shop=SHOPS).name
    assert other.resolved("UTC") == MultiPartitions(day=DAYS, region=REGIONS)
    assert MultiPartitions(name="sales", day=DAYS, region=REGIONS).resolved("UTC").name == "sales"


def test_a_set_is_plain_data() -> None:
    assert TypeAdapter(list[PartitionsSpec]).validate_json(orjson.dumps([SALES])) == [SALES]


def test_sets_that_cannot_be() -> None:
    with pytest.raises(DefinitionError, match="fewer than two"):
        MultiPartitions(day=DAYS)
    with pytest.raises(DefinitionError, match="'day' is"):
        MultiPartitions(day="daily", region=REGIONS)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(DefinitionError, match="'nested' is"):
        MultiPartitions(nested=SALES, region=REGIONS)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


places = st.dictionaries(
    st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 2**32 - 1)), st.integers(1, 200), max_size=40
)


@given(known=places, loaded=st.integers(0, 40), side=st.sets(st.integers(1, 9)), asked=st.sets(st.integers(1, 200)))
def test_combinations_are_found_by_any_of_their_dimensions(
    known: dict[tuple[int, int, int], int], loaded: int, side: set[int], asked: set[int]
) -> None:
    """Read at once or learnt one by one."""
    by_number = {number: place for place, number in known.items()}
    rows = sorted(by_number.items())
    made = Combinations(SALES.names, rows[:loaded])
    for number, place in rows[loaded:]:
        made.add(number, dict(zip(SALES.names, place, strict=True)))
        made.add(number, dict(zip(SALES.names, place, strict=True)))
    assert len(made) == len(by_number) and made.dimensions == SALES.names
    for number, place in by_number.items():
        found = made.number(dict(zip(SALES.names, place, strict=True)))
        assert found is not None and by_number[found] == place
        assert tuple(made.coordinates(number).values()) == place
    assert all(made.has(number) == (number in by_number) for number in range(202))
    within = {number for number, place in by_number.items() if place[0] in side}
    assert set(made.within("day", BitMap(side))) == within
    assert set(made.inside(Box({"day": BitMap(side), "region": BitMap([1, 2])}))) == {
        number for number in within if by_number[number][1] <= 2
    }
    for index, name in enumerate(SALES.names):
        assert set(made.project(name, BitMap(asked))) == {by_number[one][index] for one in asked & by_number.keys()}
    assert made.number({"day": 10, "region": 1, "shop": 1}) is None
    with pytest.raises(KeyError):
        made.coordinates(201)


def test_a_million_combinations_are_small() -> None:
    """Measured as the process grows, since bitmaps are no Python objects."""
    text = """
import resource, sys, time
from freshet.engine.partitions.combinations import Combinations
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
made = Combinations(("day", "shop"), ((n + 1, (40_000 + n // 1000, n % 1000 + 1)) for n in range(1_000_000)))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert made.number({"day": 40_500, "shop": 7}) == 500_007 and len(made) == 1_000_000
print(grown // 1024)
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60
