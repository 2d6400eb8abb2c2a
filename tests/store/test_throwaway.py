"""The store that nobody will miss keeps the promises that do not need a disk; and copies that touch nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.errors import StoreError
from freshet.store.copying import copy_database, last_moment, read_only, step_durations
from freshet.store.store import Store
from freshet.store.throwaway import ThrowawayStore


def _put(db: sqlite3.Connection, key: str, *, fail: bool = False) -> str:
    db.execute("INSERT INTO meta (key, value) VALUES (?, '1')", (key,))
    if fail:
        raise ValueError(key)
    return key


def _keys(db: sqlite3.Connection) -> set[str]:
    return {key for (key,) in db.execute("SELECT key FROM meta WHERE value = '1'")}


def test_a_write_is_whole_or_not_at_all_and_only_whole_ones_are_watched(tmp_path: Path) -> None:
    watched: list[object] = []

    async def use() -> None:
        store = ThrowawayStore.create(tmp_path / "t.db", now=0.0)
        store.watch = lambda transaction, result: watched.append(result)
        assert await store.write(partial(_put, key="a")) == "a"
        with pytest.raises(ValueError, match="b"):
            await store.write(partial(_put, key="b", fail=True))
        with pytest.raises(sqlite3.IntegrityError):
            await store.write(partial(_put, key="a"))
        assert await store.write(partial(_put, key="c")) == "c"
        assert await store.read(_keys) == store.ask(_keys) == {"a", "c"}
        await store.close()

    asyncio.run(use())
    assert watched == ["a", "c"]


def test_it_has_the_schema_of_the_store_and_opens_its_copies(tmp_path: Path) -> None:
    async def use() -> None:
        store = await Store.open(tmp_path / "real.db", now=0.0)
        await store.write(partial(_put, key="kept"))
        copy_database(tmp_path / "real.db", tmp_path / "copy.db")
        await store.write(partial(_put, key="later"))
        await store.close()
        copied = ThrowawayStore.create(tmp_path / "copy.db", now=1.0)
        made = ThrowawayStore.create(tmp_path / "made.db", now=1.0)
        assert copied.ask(_keys) == {"kept"}
        assert copied.ask(_schema) == made.ask(_schema)
        await copied.write(partial(_put, key="later"))
        for one in (copied, made):
            await one.close()

    asyncio.run(use())
    with read_only(tmp_path / "real.db") as db:
        assert _keys(db) == {"kept", "later"}
        assert (step_durations(db), last_moment(db)) == ({}, None)


def _schema(db: sqlite3.Connection) -> list[tuple[str, str]]:
    return db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database" * 1000)
    with pytest.raises(StoreError, match=r"text\.db cannot be read"), read_only(tmp_path / "text.db") as db:
        step_durations(db)
    with pytest.raises(StoreError, match="of the simulation failed"):
        ThrowawayStore.create(tmp_path / "missing" / "t.db", now=0.0)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.sampled_from(["succeeded", "failed", "started"])),
        max_size=40,
    )
)
def test_the_duration_is_the_median_of_what_succeeded(steps: list[tuple[str, int, str]]) -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE steps (run_id, position, name, state, started_at, ended_at)")
    db.executemany(
        "INSERT INTO steps VALUES (?, 0, ?, ?, 100, ?)",
        [(run, name, state, 100 + took) for run, (name, took, state) in enumerate(steps)],
    )
    expected = {}
    for name in "abc":
        took = sorted(seconds for one, seconds, state in steps if one == name and state == "succeeded")
        if took:
            expected[name] = (took[(len(took) - 1) // 2] + took[len(took) // 2]) / 2
    assert step_durations(db) == expected
    db.close()
