"""A store that was filled in bulk is one that the daemon could have left."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.bench.million import Filled, fill
from tests.store.support import DEFINITIONS, open_database

from freshet.store.assets import asset_bits, automation_seq
from freshet.store.definitions import register_definitions
from freshet.store.events import events_after, last_seq
from freshet.store.queries import failures, runs
from freshet.store.sets import read_sets

COUNT = 10_000

MADE_BY = """
SELECT count(*), count(DISTINCT s.materialized_seq) FROM asset_state s
JOIN events e ON e.seq = s.materialized_seq AND e.type = 'materialized'
    AND e.asset_id = s.asset_id AND e.partition = s.partition AND e.run_id = s.run_id
JOIN steps t ON t.run_id = s.run_id AND t.asset_id = s.asset_id AND t.partition = s.partition AND t.state = 'succeeded'
JOIN runs r ON r.id = s.run_id AND r.partition = s.partition AND r.state = 'succeeded'
"""
FAILED_BY = """
SELECT count(*) FROM asset_state s
JOIN events e ON e.seq = s.failed_seq AND e.type = 'failed' AND e.partition = s.partition AND e.run_id = s.failed_run
JOIN runs r ON r.id = s.failed_run AND r.partition = s.partition AND r.state = 'failed'
"""


@contextmanager
def filled(folder: Path, *assets: str, history: bool) -> Generator[tuple[sqlite3.Connection, Filled]]:
    with closing(open_database(folder / "freshet.db")) as db:
        register_definitions(db, DEFINITIONS, 1.0)
        schema = db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    found = fill(folder, "batches", assets, COUNT, history=history)
    with closing(open_database(folder / "freshet.db")) as db:
        assert db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall() == schema
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        yield db, found


def test_states_runs_and_events_agree(tmp_path: Path) -> None:
    with filled(tmp_path, "raw", history=True) as (db, found):
        bits = asset_bits(db)["raw"]
        assert (len(read_sets(db)["batches"].live), len(bits.materialized), len(bits.failed)) == (
            found.partitions, found.made, found.failed,
        )  # fmt: skip
        assert db.execute(MADE_BY).fetchone() == (found.made, found.made)
        assert db.execute(FAILED_BY).fetchone() == (found.failed,)
        assert failures(db, since=0.0).partitions == {"raw": found.failed}
        assert {one.state for one in runs(db, limit=COUNT * 2)} == {"succeeded", "failed"}


def test_every_event_is_there_and_looked_at(tmp_path: Path) -> None:
    with filled(tmp_path, "raw", history=True) as (db, _):
        events = events_after(db, 0, 10 * COUNT)
        assert [event.seq for event in events] == list(range(1, last_seq(db) + 1))
        firsts = {event.seq for event in events if event.seq == event.txn}
        assert all(event.txn in firsts and event.txn <= event.seq for event in events)
        assert automation_seq(db) == last_seq(db)


def test_a_chain_is_made_in_its_order(tmp_path: Path) -> None:
    with filled(tmp_path, "raw", "clean", history=False) as (db, found):
        bits = asset_bits(db)
        assert bits["raw"].materialized == bits["clean"].materialized
        assert len(bits["clean"].materialized) == found.made
        late = db.execute(
            """
            SELECT count(*), total(a.materialized_seq >= b.materialized_seq OR a.run_id >= b.run_id)
            FROM assets raw, assets clean JOIN asset_state a ON a.asset_id = raw.id
            JOIN asset_state b ON b.asset_id = clean.id AND b.partition = a.partition
            WHERE raw.name = 'raw' AND clean.name = 'clean' AND a.materialized_seq IS NOT NULL
            """
        ).fetchone()
        assert late == (found.made, 0)
        seqs = "SELECT count(DISTINCT materialized_seq), max(materialized_seq) FROM asset_state"
        different, newest = db.execute(seqs).fetchone()
        assert different == 2 * found.made
        assert newest <= last_seq(db)
