"""Rows that share most of their values are the same rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.store.alike import insert_alike

_COLUMNS = (
    st.one_of(st.none(), st.integers(0, 2)),
    st.one_of(st.none(), st.sampled_from(["", "a", "b"])),
    st.one_of(st.none(), st.integers(0, 1), st.sampled_from([0.0, 0.5, 1.0])),
    st.sampled_from(["one", "two", "none of them"]),
)


@st.composite
def _rows(draw: st.DrawFn) -> list[tuple[object, ...]]:
    """Each column is the same throughout, or not."""
    count = draw(st.one_of(st.integers(0, 4), st.integers(48, 160)))
    columns = [
        [draw(values)] * count if draw(st.booleans()) else draw(st.lists(values, min_size=count, max_size=count))
        for values in _COLUMNS
    ]
    return list(zip(*columns, strict=True))


@settings(deadline=None)
@given(rows=_rows())
def test_they_are_inserted_as_one_by_one(rows: list[tuple[object, ...]]) -> None:
    row = "(?, ?, ?, (SELECT id FROM names WHERE name = ?))"
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE names (id INTEGER, name TEXT) STRICT")
        db.execute("INSERT INTO names VALUES (1, 'one'), (2, 'two')")
        for table in ("some", "others"):
            db.execute(f"CREATE TABLE {table} (i INTEGER, t TEXT, r REAL, n INTEGER) STRICT")
        insert_alike(db, "INSERT INTO some", row, rows)
        db.executemany(f"INSERT INTO others VALUES {row}", rows)
        here, there = (db.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall() for table in ("some", "others"))
        assert here == there and len(here) == len(rows)
