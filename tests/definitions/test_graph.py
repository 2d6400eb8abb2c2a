"""Definitions as a whole: what is refused, with place and remedy; order, selection and mappings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.graph import Definitions, validate
from freshet.definitions.job import JobSpec
from freshet.definitions.mapping import All, Identity, Last, Mapping, default_mapping
from freshet.definitions.partitions import DynamicPartitions, PartitionsSpec, StaticPartitions
from freshet.definitions.sensor import SensorSpec
from freshet.definitions.source import Source
from freshet.errors import DefinitionError, GraphError, InvalidName

A, B, S = DynamicPartitions("a"), DynamicPartitions("b"), StaticPartitions(["x", "y"], name="s")


def spec(name: str, *above: str, partitions: PartitionsSpec | None = None, line: int = 1) -> AssetSpec:
    return AssetSpec(name, tuple(map(DepSpec, above)), partitions, source=Source("/plugins/p.py", line))


def only_problem(definitions: Definitions) -> DefinitionError:
    (problem,) = validate(definitions)
    return problem


def test_an_unknown_dependency_offers_the_nearest_name() -> None:
    problem = only_problem(Definitions(assets=(spec("orders"), spec("sales", "ordres", line=9))))
    assert isinstance(problem, GraphError) and "did you mean 'orders'?" in problem.hint
    assert (problem.file, problem.line) == ("/plugins/p.py", 9)


def test_a_cycle_is_named_in_order() -> None:
    problem = only_problem(Definitions(assets=(spec("a", "c"), spec("b", "a"), spec("c", "b"))))
    assert isinstance(problem, GraphError)
    ring = problem.message.partition(": ")[2].split(" -> ")
    assert ring[0] == ring[-1] and set(ring) == {"a", "b", "c"}


def test_an_asset_below_itself_is_a_cycle() -> None:
    assert "a -> a" in only_problem(Definitions(assets=(spec("a", "a"),))).message


def test_names_are_taken_once() -> None:
    problem = only_problem(Definitions(assets=(spec("a"), spec("a", line=5))))
    assert isinstance(problem, InvalidName) and problem.line == 5 and "/plugins/p.py:1" in problem.message
    clash = only_problem(Definitions(assets=(spec("a"),), jobs=(JobSpec("a"),)))
    assert "job 'a'" in clash.message
    sensors = (SensorSpec("s", "t"), SensorSpec("s", "t"))
    assert "sensor 's'" in only_problem(Definitions(sensors=sensors)).message


def test_a_sensor_may_share_an_assets_name_but_needs_a_known_target() -> None:
    fine = Definitions(assets=(spec("landing"),), sensors=(SensorSpec("landing", "t", target="landing"),))
    assert validate(fine) == []
    wrong = Definitions(assets=(spec("landing"),), sensors=(SensorSpec("s", "t", target="landign"),))
    assert "did you mean 'landing'?" in only_problem(wrong).hint


def test_one_set_is_declared_in_one_way() -> None:
    other = StaticPartitions(["x"], name="s")
    problem = only_problem(Definitions(assets=(spec("a", partitions=S), spec("b", partitions=other))))
    assert isinstance(problem, InvalidName) and "'s'" in problem.message


@pytest.mark.parametrize(
    ("above", "below", "mapping"),
    [(A, B, Identity()), (A, None, Identity()), (None, A, All()), (None, None, Last())],
)
def test_mappings_that_cannot_be(above: PartitionsSpec | None, below: PartitionsSpec | None, mapping: Mapping) -> None:
    assets = (
        AssetSpec("u", partitions=above),
        AssetSpec("d", (DepSpec("u", mapping=mapping),), below),
    )
    problem = only_problem(Definitions(assets=assets))
    assert isinstance(problem, GraphError) and problem.hint


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [
        (None, None, Identity()),
        (None, A, Identity()),
        (A, A, Identity()),
        (A, None, All()),
        (A, B, All()),
        (S, A, All()),
    ],
)
def test_the_default_mapping(above: PartitionsSpec | None, below: PartitionsSpec | None, expected: Mapping) -> None:
    assert default_mapping(above, below) == expected
    assets = (AssetSpec("u", partitions=above), AssetSpec("d", (DepSpec("u"),), below))
    definitions = Definitions(assets=assets)
    assert validate(definitions) == []
    assert definitions.mapping(assets[1], assets[1].deps[0]) == expected


@given(st.lists(st.sets(st.integers(0, 30), max_size=4), max_size=31))
def test_order_and_selection(above: list[set[int]]) -> None:
    assets = tuple(
        spec(f"n{index}", *(f"n{one}" for one in sorted(deps) if one < index)) for index, deps in enumerate(above)
    )
    definitions = Definitions(assets=assets[::-1])
    assert validate(definitions) == []
    for asset in assets:
        for dep in asset.deps:
            assert definitions.position[dep.asset] < definitions.position[asset.name]
            assert asset.name in definitions.downstream[dep.asset]
    if assets:
        below = set(definitions.select(["n0"], downstream=True))
        assert below == {name for name in definitions.order if "n0" in definitions.select([name], upstream=True)}
        assert definitions.select(["n0"]) == ("n0",)


def test_partition_sets_of_assets_and_sensors() -> None:
    definitions = Definitions(assets=(spec("a", partitions=S),), partitions=(A,))
    assert set(definitions.partition_set) == {"a", "s"}


@pytest.mark.parametrize("keys", [[], ["x", "x"], ["e\u0301", "\u00e9"], [".x"]])
def test_static_sets_that_cannot_be(keys: list[str]) -> None:
    with pytest.raises((DefinitionError, ValueError)):
        StaticPartitions(keys)


def test_a_static_set_without_a_name_is_called_by_its_keys() -> None:
    assert StaticPartitions(["x", "y"]) == StaticPartitions(["x", "y"])
    assert StaticPartitions(["x", "y"]).name != StaticPartitions(["y", "x"]).name
