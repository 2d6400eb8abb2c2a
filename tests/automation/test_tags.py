"""Conditions about the tags of runs: in miniature, and through the store."""

from __future__ import annotations

import pytest
from tests.automation.build import graph, node
from tests.automation.plant import Plant

from freshet.definitions.condition import AutomationCondition
from freshet.errors import DefinitionError

C = AutomationCondition
ODD = C.any_new_update_has_run_tags(["odd"])


def test_updates_of_tagged_runs_alone() -> None:
    """The plant's runs with odd ids have tags."""
    plant = Plant(graph(node("a"), node("b", "a", automation=C.any_deps_match(ODD) & ~C.in_progress())))
    plant.report("a")
    assert plant.waves == []
    plant.succeed(plant.request("a", begin=True), "a")
    assert len(plant.waves) == 1
    plant.run_all()
    plant.succeed(plant.request("a", begin=True), "a")
    assert len(plant.waves) == 2
    plant.admit()
    plant.succeed(plant.request("a", begin=True), "a")
    assert len(plant.waves) == 2


def test_the_last_run_counts_also_after_a_restart() -> None:
    tagged = C.asset_matches("a", C.executed_with_tags(tag_values={"odd": "yes"})) & C.asset_matches(
        "x", C.newly_updated()
    )
    plant = Plant(graph(node("a"), node("x"), node("b", automation=tagged)))
    plant.succeed(plant.request("a", begin=True), "a")
    plant.restart()
    plant.report("x")
    assert len(plant.waves) == 1
    plant.run_all()
    plant.report("a")
    plant.report("x")
    assert len(plant.waves) == 1


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda: C.executed_with_tags(), "names no tag"),
        (lambda: C.executed_with_tags("odd"), "takes a list"),
        (lambda: C.executed_with_tags(tag_values={"odd": 1}), "takes a text"),  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    ],
)
def test_what_is_wrong_is_said_where_it_is_written(write: object, said: str) -> None:
    assert callable(write)
    with pytest.raises(DefinitionError, match=said):
        write()
