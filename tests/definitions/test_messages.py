"""What a user who errs is told: the place, what is wrong, and the way out."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from freshet import (
    AutomationCondition,
    ByDimension,
    Dep,
    DynamicPartitions,
    Freshness,
    Last,
    MultiPartitions,
    Static,
    StaticPartitions,
    TimePartitions,
    TimeWindow,
    asset,
)
from freshet.definitions.advice import advice
from freshet.definitions.asset import AssetSpec
from freshet.definitions.cron import check_cron
from freshet.definitions.graph import Definitions, validate
from freshet.definitions.mapping_check import misfit
from freshet.definitions.names import check_key
from freshet.definitions.partitions import PartitionsSpec
from freshet.definitions.source import Source
from freshet.errors import Conflict, DefinitionError, PartitionKeyError
from freshet.http.api.partitions import check_dynamic

DAYS = TimePartitions("daily", "2026-03-01", timezone="UTC", name="days")
REGIONS = StaticPartitions(["eu", "us"], name="regions")
GRID = MultiPartitions(day=DAYS, region=REGIONS, name="grid")
TWICE = MultiPartitions(one=DAYS, other=DAYS, name="twice")


@pytest.mark.parametrize(
    ("cadence", "key", "form"),
    [("daily", "2026-10", "2026-03-29"), ("weekly", "2026-W10", "its Monday"), ("monthly", "2026-10", "2026-03-01")],
)
def test_a_key_in_time_is_told_its_form(cadence: str, key: str, form: str) -> None:
    if cadence == "weekly":
        key = "week 10"
    with pytest.raises(PartitionKeyError) as caught:
        TimePartitions(cadence, "2026-01-01", timezone="UTC").number(key)
    assert form in caught.value.hint


@pytest.mark.parametrize(
    ("above", "below", "hint"),
    [
        (DAYS, GRID, "ByDimension(day=TimeWindow(start=-6))"),
        (GRID, DAYS, "ByDimension(day=TimeWindow(start=-6))"),
        (GRID, GRID, "ByDimension(day=TimeWindow(start=-6))"),
        (DAYS, TWICE, "use All() or Last()"),
        (REGIONS, GRID, "use All() or Last()"),
        (DAYS, None, "use All() or Last()"),
    ],
)
def test_a_window_over_several_dimensions_is_told_how(
    above: PartitionsSpec, below: PartitionsSpec | None, hint: str
) -> None:
    assert misfit(TimeWindow(start=-6), above, below)[1].endswith(hint)
    if hint.startswith("By"):
        assert misfit(ByDimension(day=TimeWindow(start=-6)), above, below) == ("", "")


def test_a_set_declared_in_two_ways_is_told_once_with_both_places() -> None:
    first, second, third = (
        StaticPartitions(keys, name="regions", source=Source(f"/p/{number}.py", number))
        for number, keys in ((1, ["a"]), (2, ["b"]), (3, ["c"]))
    )
    assets = tuple(AssetSpec(f"a{number}", partitions=one) for number, one in enumerate((first, second, third, second)))
    (problem,) = validate(Definitions(assets=assets))
    assert problem.message == "the partition set 'regions' is declared in two ways; first at /p/1.py:1"
    assert (problem.file, problem.line) == ("/p/2.py", 2)


def test_a_key_with_a_dot_in_front_is_told_the_way_out() -> None:
    with pytest.raises(PartitionKeyError) as caught:
        check_key(".x")
    assert "before it" in caught.value.hint


def test_partitions_in_time_want_a_start() -> None:
    with pytest.raises(DefinitionError, match="no start") as caught:
        TimePartitions("daily")
    assert 'start="2026-01-01"' in caught.value.hint


def test_keep_is_at_least_one() -> None:
    with pytest.raises(DefinitionError, match="at least 1"):
        DynamicPartitions("keys", keep=0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("60 * * * *", "bad minute: it is 0 to 59"),
        ("0 24 * * *", "bad hour: it is 0 to 23"),
        ("0 0 32 * *", "bad day-of-month: it is 1 to 31"),
        ("0 0 * 13 *", "bad month: it is 1 to 12"),
        ("0 0 * * 8", "bad day-of-week: it is 0 to 7"),
        ("60 0 0 * * *", "bad second: it is 0 to 59"),
    ],
)
def test_a_cron_text_is_told_its_field_and_bounds(text: str, says: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_cron(text, what="schedule x")
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("extra", "hint"), [(Last(), "Dep(mapping=Last())"), (Static({"a": "b"}), "Dep(mapping=Static(...))")]
)
def test_a_mapping_in_an_annotation_wants_a_dep(extra: object, hint: str) -> None:
    def made(rows: Any) -> Any:
        return rows

    made.__annotations__["rows"] = Annotated[str, extra]
    with pytest.raises(DefinitionError, match="'rows' names a mapping without Dep") as caught:
        asset(made)
    assert hint in caught.value.hint
    assert caught.value.line == made.__code__.co_firstlineno
    made.__annotations__["rows"] = Annotated[str, Dep(mapping=Last())]
    assert asset(made).spec.deps[0].mapping == Last()


def test_a_lapse_that_cannot_come_is_warned_of() -> None:
    @asset
    def raw() -> int:
        return 1

    @asset(automation=AutomationCondition.on_lapse() | AutomationCondition.on_missing())
    def made(raw: int) -> int:
        return raw

    (said,) = advice(Definitions(assets=(raw.spec, made.spec)))
    assert "asset 'made': on_lapse() never comes" in said.message
    assert said.file == __file__

    @asset(name="raw", freshness=Freshness(within="1h"))
    def promised() -> int:
        return 1

    assert list(advice(Definitions(assets=(promised.spec, made.spec)))) == []


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (DAYS, "windows of time, which come by themselves"),
        (GRID, "come with their dimensions"),
        (REGIONS, "are static"),
    ],
)
def test_a_set_that_nobody_adds_to_says_what_decides_it(spec: PartitionsSpec, says: str) -> None:
    with pytest.raises(Conflict, match=says) as caught:
        check_dynamic(spec)
    assert caught.value.hint
    check_dynamic(DynamicPartitions("keys"))
