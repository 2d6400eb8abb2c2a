"""Definitions between processes: nothing is lost, and what is common is there once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.definitions.conditions import operands, trees

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.cache import CacheSpec
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.mapping import Last, TimeWindow
from freshet.definitions.partitions import DynamicPartitions, MultiPartitions, StaticPartitions, TimePartitions
from freshet.definitions.retries import RetrySpec
from freshet.definitions.source import Source
from freshet.definitions.surroundings import Surroundings
from freshet.definitions.wire import packed, unpacked

BATCHES, DAYS = DynamicPartitions("batches"), TimePartitions("daily", "2026-01-01", timezone="Europe/Berlin")
SETS = st.sampled_from(
    [BATCHES, DAYS, StaticPartitions(["a", "b"]), MultiPartitions(name="grid", day=DAYS, batch=BATCHES), None]
)
ASSETS = st.builds(
    AssetSpec,
    name=st.sampled_from(["a", "b"]),
    deps=st.sampled_from([(), (DepSpec("x"), DepSpec("y", "y", Last())), (DepSpec("x", None, TimeWindow(start=-6)),)]),
    partitions=SETS,
    freshness=st.sampled_from([None, FreshnessSpec(60.0, 30.0)]),
    automation=st.one_of(
        st.none(), st.just(AutomationCondition.eager()), trees(operands, max_leaves=5, max_wait="64s")
    ),
    pool=st.sampled_from([None, "warehouse"]),
    priority=st.integers(-5, 5),
    retries=st.sampled_from([RetrySpec(), RetrySpec(max=3, delay=5.0, on=("ValueError",))]),
    timeout=st.sampled_from([None, 1.5]),
    surroundings=st.sampled_from([None, Surroundings(2**29, {"A": "b"}, "work"), Surroundings(cwd="work")]),
    cache=st.sampled_from([None, CacheSpec(), CacheSpec(inputs=False, ttl=86400.0)]),
    tags=st.sampled_from([{}, {"team": "data"}]),
    wants_ctx=st.booleans(),
    source=st.sampled_from([None, Source("plugins/a.py", 7)]),
)


def across(definitions: Definitions) -> Definitions:
    return unpacked(orjson.loads(orjson.dumps(packed(definitions))))


@given(st.lists(ASSETS, max_size=6))
@settings(deadline=None)
def test_they_arrive_as_they_were(assets: list[AssetSpec]) -> None:
    definitions = Definitions(assets=tuple(assets), partitions=(BATCHES,), version="1")
    read = across(definitions)
    assert read == definitions
    assert orjson.dumps(read) == orjson.dumps(definitions)


def test_what_assets_have_in_common_is_written_once() -> None:
    assets = tuple(
        AssetSpec(f"a{number}", partitions=DynamicPartitions("batches"), automation=AutomationCondition.eager())
        for number in range(1000)
    )
    told = packed(Definitions(assets=assets))
    assert (len(told["conditions"]), len(told["sets"])) == (1, 1)
    assert len(orjson.dumps(told)) < 60 * len(assets)
    read = across(Definitions(assets=assets))
    assert len({id(spec.automation) for spec in read.assets}) == 1


@pytest.mark.parametrize("number", [-1, 1, "eager", None, {"kind": "missing"}])
def test_a_place_that_is_none_is_a_wrong_type(number: object) -> None:
    told: dict[str, Any] = packed(Definitions(assets=(AssetSpec("a", automation=AutomationCondition.missing()),)))
    told = orjson.loads(orjson.dumps(told))
    told["assets"][0]["automation"] = number
    if isinstance(number, dict) or number is None:  # a condition itself, or none, is as good
        assert unpacked(told).assets[0].automation == (number and AutomationCondition.missing())
    else:
        with pytest.raises(ValidationError):
            unpacked(told)
