"""Definitions, interned; and partition keys, through all their lives."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
from tests.store.support import BATCHES, DEFINITIONS, VALUE, one_step, populate, rows, states

from freshet.definitions.asset import AssetSpec
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import DynamicPartitions, StaticPartitions
from freshet.errors import UnknownName
from freshet.store.admission import admit
from freshet.store.definitions import register_definitions
from freshet.store.finishing import finish_step
from freshet.store.freshness import freshness_rows
from freshet.store.partitions import change_partitions
from freshet.store.records import Event, PartitionDelta, RunToAdmit, StepResult
from freshet.store.sets import read_sets


def said(events: tuple[Event, ...]) -> list[tuple[str, str | None, object]]:
    return [(event.type, event.set, event.data) for event in events]


def make(db: sqlite3.Connection, run: RunToAdmit, at: float) -> int:
    """Run one step to its good end; returns the event's number."""
    admitted, _ = admit(db, [run], start=1, needs={}, now=at, version="v1")
    result = StepResult(admitted.runs[0].run_id, 0, 1, "succeeded", at, VALUE)
    return finish_step(db, result).events[0].seq


def test_registering_twice_changes_nothing(db: sqlite3.Connection) -> None:
    first = register_definitions(db, DEFINITIONS, 1.0)
    assert said(first) == [
        ("partition_added", "regions", {"key": "north"}),
        ("partition_added", "regions", {"key": "south"}),
        ("definitions_loaded", None, {"version": "v1"}),
    ]
    before = list(db.iterdump())
    assert register_definitions(db, DEFINITIONS, 2.0) == ()
    assert list(db.iterdump()) == before
    assert {name: list(one.live) for name, one in read_sets(db).items()} == {"batches": [], "regions": [1, 2]}


def test_static_keys_are_hidden_and_shown_again_as_they_were(db: sqlite3.Connection) -> None:
    populate(db)
    make(db, one_step("by_region", set="regions", key="south"), 3.0)

    def with_regions(*keys: str) -> Definitions:
        regions = AssetSpec("by_region", partitions=StaticPartitions(keys, name="regions"))
        return replace(DEFINITIONS, assets=(*DEFINITIONS.assets[:3], regions))

    assert said(register_definitions(db, with_regions("east", "north"), 4.0)) == [
        ("partition_added", "regions", {"key": "east"}),
        ("partition_deleted", "regions", {"key": "south"}),
    ]
    assert list(read_sets(db)["regions"].live) == [1, 3]
    assert states(db, "materialized") == set()
    assert said(register_definitions(db, with_regions("north", "south"), 5.0)) == [
        ("partition_added", "regions", {"key": "south"}),
        ("partition_deleted", "regions", {"key": "east"}),
    ]
    assert list(read_sets(db)["regions"].live) == [1, 2]
    assert states(db, "materialized") == {("by_region", 2)}


def test_a_policy_counts_from_the_last_materialization_else_from_now(db: sqlite3.Connection) -> None:
    bare = replace(DEFINITIONS, assets=tuple(replace(asset, freshness=None) for asset in DEFINITIONS.assets))
    register_definitions(db, bare, 1.0)
    change_partitions(db, PartitionDelta("batches", (("a", {}), ("b", {}))), 2.0)
    make(db, one_step("raw", set="batches", key="b"), 6.0)
    last = make(db, one_step("raw", set="batches", key="a"), 7.0)
    assert freshness_rows(db) == ()
    register_definitions(db, DEFINITIONS, 9.0)
    raw, sales = freshness_rows(db)
    assert (raw.asset, raw.since, raw.baseline_seq, raw.baseline_at, raw.state) == ("raw", 9.0, last, 7.0, "fresh")
    assert raw.policy == {"within": 3600.0, "warn": 1800.0}
    assert (sales.asset, sales.since, sales.baseline_seq, sales.baseline_at) == ("sales", 9.0, 0, 9.0)


def test_an_edited_policy_keeps_its_baseline_and_a_removed_one_goes(db: sqlite3.Connection) -> None:
    populate(db)
    raw, clean, sales, region = DEFINITIONS.assets
    edited = replace(sales, freshness=FreshnessSpec(within=5.0))
    register_definitions(db, replace(DEFINITIONS, assets=(replace(raw, freshness=None), clean, edited, region)), 50.0)
    (row,) = freshness_rows(db)
    assert (row.asset, row.policy["within"], row.since, row.baseline_at) == ("sales", 5.0, 1.0, 1.0)


def test_an_asset_that_moves_to_another_set_starts_anew(db: sqlite3.Connection) -> None:
    populate(db, "a")
    make(db, one_step("clean", set="batches", key="a"), 3.0)
    moved = AssetSpec("clean", partitions=DynamicPartitions("others"))
    raw, _, sales, region = DEFINITIONS.assets
    register_definitions(db, replace(DEFINITIONS, assets=(raw, moved, sales, region)), 4.0)
    change_partitions(db, PartitionDelta("others", (("z", {}),)), 5.0)
    assert states(db, "materialized") == set()


def test_a_value_made_for_the_old_set_is_not_published_in_the_new_one(db: sqlite3.Connection) -> None:
    populate(db, "a")
    admitted, _ = admit(db, [one_step("clean", set="batches", key="a")], start=1, needs={}, now=3.0, version="v1")
    moved = AssetSpec("clean", partitions=DynamicPartitions("others"))
    raw, _, sales, region = DEFINITIONS.assets
    register_definitions(db, replace(DEFINITIONS, assets=(raw, moved, sales, region)), 4.0)
    change_partitions(db, PartitionDelta("others", (("z", {}),)), 5.0)
    finished = finish_step(db, StepResult(admitted.runs[0].run_id, 0, 1, "succeeded", 6.0, VALUE))
    assert [event.type for event in finished.events] == ["released", "run_succeeded"]
    assert states(db, "materialized") == set()


# --- dynamic keys --------------------------------------------------------------------------------------------


def test_adding_and_deleting(db: sqlite3.Connection) -> None:
    populate(db)
    count, events = change_partitions(db, PartitionDelta("batches", (("b", {"n": 1}), ("a", {}))), 3.0)
    assert count == 2
    assert [(event.type, event.partition, event.data) for event in events] == [
        ("partition_added", 1, {"key": "b"}),
        ("partition_added", 2, {"key": "a"}),
    ]
    assert {event.txn for event in events} == {events[0].seq}
    assert change_partitions(db, PartitionDelta("batches", (("b", {"n": 2}),)), 4.0) == (0, ())
    assert rows(db, "SELECT metadata FROM partitions WHERE key = 'b'") == ['{"n":2}']
    count, events = change_partitions(db, PartitionDelta("batches", delete=("b", "never", "b")), 5.0)
    assert (count, [event.partition for event in events]) == (1, [1])
    assert list(read_sets(db)["batches"].live) == [2]
    assert change_partitions(db, PartitionDelta("batches", delete=("b",)), 6.0) == (0, ())


def test_a_key_added_again_is_the_same_number_with_nothing_remembered(db: sqlite3.Connection) -> None:
    populate(db, "a", "b")
    for key in ("a", "b"):
        make(db, one_step("raw", set="batches", key=key), 3.0)
    change_partitions(db, PartitionDelta("batches", delete=("a",)), 4.0)
    assert states(db, "materialized") == {("raw", 2)}
    assert rows(db, "SELECT count(*) FROM asset_state") == [2]  # history stays until the key comes back
    _, events = change_partitions(db, PartitionDelta("batches", (("a", {"again": True}),)), 5.0)
    assert [(event.type, event.partition) for event in events] == [("partition_added", 1)]
    assert rows(db, "SELECT number, generation, metadata, deleted_at FROM partitions WHERE key = 'a'") == [
        (1, 2, '{"again":true}', None)
    ]
    assert states(db, "materialized") == {("raw", 2)}


@pytest.mark.parametrize("again", [True, False])
def test_what_was_under_way_for_a_deleted_key_is_not_published(db: sqlite3.Connection, again: bool) -> None:
    populate(db, "a")
    admitted, _ = admit(db, [one_step("raw", set="batches", key="a")], start=1, needs={}, now=3.0, version="v1")
    change_partitions(db, PartitionDelta("batches", delete=("a",)), 4.0)
    if again:
        change_partitions(db, PartitionDelta("batches", (("a", {}),)), 5.0)
    finished = finish_step(db, StepResult(admitted.runs[0].run_id, 0, 1, "succeeded", 6.0, VALUE))
    assert [event.type for event in finished.events] == ["released", "run_succeeded"]
    assert rows(db, "SELECT count(*) FROM asset_state") == [0]


def test_an_unknown_set_is_named_with_the_nearest(db: sqlite3.Connection) -> None:
    populate(db)
    with pytest.raises(UnknownName, match="'batchs'") as caught:
        change_partitions(db, PartitionDelta("batchs", (("a", {}),)), 3.0)
    assert BATCHES.name in caught.value.hint


def test_looking_up_keys_does_not_walk_through_the_set(db: sqlite3.Connection) -> None:
    """Cost follows change: the plan looks each key up by the index."""
    populate(db, *(f"k{n}" for n in range(50)))
    steps: list[int] = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    costs: list[int] = []
    for size in (0, 5000):
        change_partitions(db, PartitionDelta("batches", tuple((f"more{n}", {}) for n in range(size))), 3.0)
        steps[0] = 0
        db.set_progress_handler(count, 10)
        change_partitions(db, PartitionDelta("batches", ((f"one{size}", {}),), ("k1",)), 4.0)
        admit(db, [one_step("raw", set="batches", key="k2")], start=0, needs={}, now=5.0, version="v1")
        db.set_progress_handler(None, 0)
        costs.append(steps[0])
    assert costs[1] <= costs[0] * 1.5
