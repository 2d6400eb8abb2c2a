"""Events as sensors read them: page by page, against one plain pass over all of them."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.support import DEFINITIONS, open_database

from freshet.definitions.listen import RUN_TYPES
from freshet.store import happened as module
from freshet.store.definitions import register_definitions
from freshet.store.events import EventLog, events_after, last_seq
from freshet.store.happened import HappenedPage, happened
from freshet.store.records import Event, EventType

KINDS: tuple[EventType, ...] = (
    "materialized",
    "failed",
    "freshness_lapsed",
    "run_failed",
    "run_canceled",
    "started",
)
NAMES = ("raw", "sales", "clean")
TRANSACTIONS = st.lists(
    st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(NAMES)), min_size=1, max_size=7), max_size=20
)


def _write(db: sqlite3.Connection, events: list[tuple[EventType, str]]) -> None:
    log = EventLog(db, 5.0)
    for kind, name in events:
        if kind in RUN_TYPES:
            log.add(kind, run_id=77, data={"kind": "asset", "target": name})
        else:
            log.add(kind, asset=name, partition=0, data={"target": "another"} if kind == "materialized" else None)
    log.write()


def _wanted(event: Event, types: tuple[str, ...], names: tuple[str, ...] | None) -> bool:
    data: Any = event.data
    about = data["target"] if event.type in RUN_TYPES else event.asset
    return event.type in types and (names is None or about in names)


@settings(max_examples=120, deadline=None)
@given(
    transactions=TRANSACTIONS,
    types=st.sets(st.sampled_from(KINDS), min_size=1),
    names=st.none() | st.sets(st.sampled_from(NAMES), min_size=1),
    limit=st.integers(1, 5),
    span=st.integers(1, 12),
    after=st.integers(0, 10),
)
def test_pages_hold_every_wanted_event_once_and_end_with_a_transaction(
    transactions: list[list[tuple[EventType, str]]],
    types: set[str],
    names: set[str] | None,
    limit: int,
    span: int,
    after: int,
) -> None:
    kinds, of = tuple(sorted(types)), None if names is None else tuple(sorted(names))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SPAN", span)
        db = open_database(Path(folder, "freshet.db"))
        register_definitions(db, DEFINITIONS, 1.0)
        for events in transactions:
            _write(db, events)
        every = events_after(db, 0, 10_000)
        ends = {one.seq - 1 for one in every if one.seq == one.txn} | {every[-1].seq}
        found, at = list[int](), after
        while True:
            page = happened(db, at, kinds, of, limit)
            assert page.last == last_seq(db)
            found += [row.seq for row in page.rows]
            assert page.seq >= page.last or (page.seq > at and page.seq in ends)
            at = page.seq
            if at >= page.last:
                break
        assert found == [one.seq for one in every if one.seq > after and _wanted(one, kinds, of)]
        db.close()


def test_without_a_place_to_begin_it_says_where_the_events_end(db: sqlite3.Connection) -> None:
    register_definitions(db, DEFINITIONS, 1.0)
    _write(db, [("materialized", "raw")])
    assert happened(db, None, ("materialized",), None, 10) == HappenedPage((), last_seq(db), last_seq(db))
