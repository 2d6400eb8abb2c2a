"""Keys that a set does not keep: what a transaction asks, and what it costs."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.store.support import one_step, open_database, populate

from freshet.store.admission import admit
from freshet.store.partitions import change_partitions
from freshet.store.records import PartitionDelta
from freshet.store.retiring import Due, cut_at, look, retire
from freshet.store.steps import cancel_run


def work(db: sqlite3.Connection, transaction: Callable[[], object]) -> int:
    """How much SQLite has to do for it: in hundreds of its instructions. Nothing of it stays."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    db.execute("BEGIN IMMEDIATE")
    db.set_progress_handler(tick, 100)
    transaction()
    db.set_progress_handler(None, 0)
    db.execute("ROLLBACK")
    return count


@pytest.mark.parametrize("held", [True, False])
def test_a_transaction_looks_at_its_own_piece(tmp_path: Path, held: bool) -> None:
    costs: list[int] = []
    for count in (600, 6000):
        with contextlib.closing(open_database(tmp_path / f"{count}.db")) as db:
            keys = [f"k{number}" for number in range(count)]
            populate(db, *keys)
            runs = [one_step("raw", set="batches", key=key) for key in keys[0 if held else 500 :]]
            admit(db, runs, start=0, needs={}, now=3.0, version="v")
            cut, piece = cut_at(db, "batches", 1), list(range(1, 501))
            found = retire(db, "batches", piece, age=None, cut=cut, now=9.0)
            assert len(found.held) == (500 if held else 0)
            assert sum(len(event.numbers) for event in found.events) == (0 if held else 500)
            change_partitions(db, PartitionDelta("batches", tuple((key, {}) for key in keys)), 10.0)
            cut = cut_at(db, "batches", 1)
            costs.append(work(db, partial(retire, db, "batches", piece, age=5.0, cut=cut, now=99.0)))
    assert costs[1] < costs[0] * 1.5


def test_a_look_goes_on_where_it_ended(db: sqlite3.Connection) -> None:
    populate(db, "a", "b", "c", "d")
    admit(db, [one_step("raw", set="batches", key="b")], start=0, needs={}, now=3.0, version="v")
    cut = cut_at(db, "batches", 1)
    first = look(db, "batches", age=None, cut=cut, now=5.0, limit=2)
    assert (first.due, first.held) == ((Due(1, 1),), {2: 1})
    second = look(db, "batches", age=None, cut=cut, now=5.0, after=first.upto, limit=2)
    assert (second.due, second.held) == ((Due(3, 1),), {})
    third = look(db, "batches", age=None, cut=cut, now=5.0, after=second.upto, limit=2)
    assert (third.due, third.upto) == ((), None)
    cancel_run(db, 1, 6.0)
    assert look(db, "batches", age=None, cut=cut, now=5.0, among=[2, 4], limit=2).due == (Due(2, 1),)


def test_what_is_too_old_is_told_with_the_oldest_that_is_not(db: sqlite3.Connection) -> None:
    populate(db, "a", "b")
    change_partitions(db, PartitionDelta("batches", (("c", {}),)), 7.0)
    found = look(db, "batches", age=5.0, cut=None, now=7.0, limit=10)
    assert ([one.number for one in found.due], found.oldest) == ([1, 2], 7.0)
    assert look(db, "batches", age=5.0, cut=None, now=6.999, limit=10).due == ()


@pytest.mark.parametrize("gone", ["c", "a"])
def test_nothing_goes_by_a_count_that_holds_no_more(db: sqlite3.Connection, gone: str) -> None:
    populate(db, "a", "b", "c")
    cut = cut_at(db, "batches", 2)
    change_partitions(db, PartitionDelta("batches", delete=(gone,)), 3.0)
    found = retire(db, "batches", [1], age=None, cut=cut, now=4.0)
    assert (found.events, found.outdated) == ((), gone == "c")
    assert [one.type for one in retire(db, "batches", [1], age=1.0, cut=cut, now=4.0).events] == (
        ["partition_deleted"] if gone == "c" else []
    ), "of age it goes all the same"
