"""Partitions in several dimensions: keys, and nothing enumerated."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

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
        ("day=2026-03-29|region=eu", "'shop' of"),
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
