"""Which key of a set is the last: the store and the memory of the engine agree, whatever came, went and came back."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap
from tests.store.support import open_database

from freshet.definitions.asset import AssetSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import DynamicPartitions
from freshet.engine.partitions.sets import Sets
from freshet.store.connection import connect_writer
from freshet.store.definitions import register_definitions
from freshet.store.inputs import gather_inputs
from freshet.store.migrations import load_migrations, migrate
from freshet.store.partitions import change_partitions
from freshet.store.records import Event, InputNeed, PartitionDelta
from freshet.store.sets import read_sets

KEYS = DynamicPartitions("keys")
DEFINED = Definitions(assets=(AssetSpec("raw", partitions=KEYS),), version="v1")
STEPS = st.lists(
    st.tuples(st.integers(-2, 2), st.booleans(), st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3)),
    max_size=12,
)


def last(db: sqlite3.Connection) -> str | None:
    """The key that a step with `Last()` is given or misses."""
    _, missing, _ = gather_inputs(db, [InputNeed("raw", "last", "keys")], 0, None)
    return missing["raw"][0] if missing["raw"] else None


def test_a_key_that_was_deleted_and_came_back_is_the_last(db: sqlite3.Connection) -> None:
    register_definitions(db, DEFINED, 1.0)
    change_partitions(db, PartitionDelta("keys", add=(("k1", {}), ("k2", {}))), 2.0)
    assert last(db) == "k2"
    change_partitions(db, PartitionDelta("keys", delete=("k1",)), 3.0)
    change_partitions(db, PartitionDelta("keys", add=(("k1", {}),)), 4.0)
    assert last(db) == "k1"
    change_partitions(db, PartitionDelta("keys", delete=("k1",)), 5.0)
    assert last(db) == "k2"
    change_partitions(db, PartitionDelta("keys", delete=("k2",)), 6.0)
    assert last(db) is None


def test_a_clock_that_is_set_back_changes_no_order(db: sqlite3.Connection) -> None:
    register_definitions(db, DEFINED, 1.0)
    told = [change_partitions(db, PartitionDelta("keys", add=(("k1", {}), ("k2", {}))), 5000.0)[1]]
    told.append(change_partitions(db, PartitionDelta("keys", delete=("k1",)), 5001.0)[1])
    told.append(change_partitions(db, PartitionDelta("keys", add=(("k1", {}),)), 1400.0)[1])
    assert last(db) == "k1"
    assert list(Sets(DEFINED, read_sets(db)).newest(KEYS)) == [1]
    followed = Sets(DEFINED, {})
    for event in (event for events in told for event in events):
        followed.apply(event)
    assert list(followed.newest(KEYS)) == [1]
    change_partitions(db, PartitionDelta("keys", add=(("k3", {}),)), 1300.0)
    assert last(db) == "k3" and list(Sets(DEFINED, read_sets(db)).newest(KEYS)) == [3]


def test_keys_that_had_come_back_before_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "freshet.db"
    with contextlib.closing(connect_writer(path, busy_timeout=1)) as db:
        migrate(db, path, load_migrations()[:10], now=1.0)
        db.execute("INSERT INTO partition_sets (id, name, kind, next_number) VALUES (1, 'keys', 'dynamic', 5)")
        rows = [(1, "k1", 3, 30.0), (2, "k2", 2, 40.0), (3, "k3", 1, 20.0), (4, "k4", 1, 35.0)]
        db.executemany(
            "INSERT INTO partitions (set_id, number, key, generation, added_at) VALUES (1, ?, ?, ?, ?)", rows
        )
        migrate(db, path, load_migrations(), now=2.0)
        sets = Sets(DEFINED, read_sets(db))
        for expected in (2, 4, 1, 3):
            assert list(sets.newest(KEYS)) == [expected]
            sets.apply(Event(9, 9, 0.0, "partition_deleted", set="keys", partition=expected))
        register_definitions(db, DEFINED, 3.0)
        assert last(db) == "k2"


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, replayed=st.integers(0, 6))
def test_memory_agrees_with_the_store(steps: list[tuple[int, bool, list[str]]], replayed: int) -> None:
    """Fed by events, loaded anew, and loaded anew and fed again with what is known already, from where it was hidden.
    The clock goes back and forth."""
    with database() as db:
        register_definitions(db, DEFINED, 0.0)
        followed, order = Sets(DEFINED, read_sets(db)), dict[str, tuple[int, int]]()
        events, numbers = list[Event](), dict[str, int]()
        now = 100.0
        for turn, (wait, add, keys) in enumerate(steps):
            now += wait
            if add:
                new = [key for key in dict.fromkeys(keys) if key not in order]
                order.update({key: (turn, numbers.setdefault(key, len(numbers) + 1)) for key in new})
                told = change_partitions(db, PartitionDelta("keys", add=tuple((key, {}) for key in keys)), now)[1]
            else:
                for key in keys:
                    order.pop(key, None)
                told = change_partitions(db, PartitionDelta("keys", delete=tuple(keys)), now)[1]
            events += told
            for event in told:
                followed.apply(event)
            expected = max(order, key=lambda key: order[key], default=None)
            newest = [] if expected is None else [numbers[expected]]
            assert last(db) == expected
            assert list(followed.newest(KEYS)) == newest
            assert list(Sets(DEFINED, read_sets(db)).newest(KEYS)) == newest
            again, last_events = Sets(DEFINED, read_sets(db)), events[max(0, len(events) - replayed) :]
            for event in told:
                again.apply(event)
            assert list(again.newest(KEYS)) == newest, "what is known changes nothing"
            told_of = set[int]()
            for event in last_events:
                if event.type == "partition_added":
                    again.hide("keys", BitMap(event.numbers) - BitMap(told_of))
                told_of.update(event.numbers)
            for event in last_events:
                again.apply(event)
            assert list(again.newest(KEYS)) == newest, "what was to come has come"


@contextmanager
def database() -> Generator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory() as folder:
        db = open_database(Path(folder, "freshet.db"))
        try:
            yield db
        finally:
            db.close()
