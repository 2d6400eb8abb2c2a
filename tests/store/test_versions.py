"""The versions of what was made: of its data, and of the code that made it."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.store.support import DEFINITIONS, VALUE, one_step, populate, rows

from freshet.definitions.graph import Definitions
from freshet.store.admission import admit
from freshet.store.connection import connect_writer
from freshet.store.definitions import register_definitions
from freshet.store.finishing import finish_step
from freshet.store.migrations import load_migrations, migrate
from freshet.store.records import StepResult, StepToRun


@pytest.fixture(autouse=True)
def _populated(db: sqlite3.Connection) -> None:
    populate(db, "a")


def _begin(db: sqlite3.Connection) -> StepToRun:
    admitted, _ = admit(db, [one_step("sales")], start=1, needs={}, now=10.0, version="v1")
    return admitted.runs[0].started[0]


def _make(db: sqlite3.Connection, version: str | None, **more: Any) -> dict[str, Any]:
    """The data of its `materialized`."""
    step = _begin(db)
    result = StepResult(step.run_id, step.position, step.attempt, "succeeded", 20.0, VALUE, version=version)
    data: dict[str, Any] = finish_step(db, replace(result, **more)).events[0].data
    return data


def test_a_version_is_compared_with_the_last_one(db: sqlite3.Connection) -> None:
    assert _make(db, "v1", code="c1") == {"version": "v1", "begun": 10.0}
    assert _make(db, "v1") == {"version": "v1", "begun": 10.0, "same": True}
    assert _make(db, "v2") == {"version": "v2", "begun": 10.0}
    assert _make(db, "v1", code="c2") == {"version": "v1", "begun": 10.0}, "not with any before"
    assert _make(db, "v1", code="c2", metadata={"rows": 3})["metadata"] == {"rows": 3}
    assert rows(db, "SELECT data_version || ' ' || code_version || ' ' || begun_at FROM asset_state") == ["v1 c2 10.0"]


def test_without_a_version_nothing_is_known_to_be_the_same(db: sqlite3.Connection) -> None:
    made = [_make(db, version) for version in (None, None, "v1", None, "v1")]
    assert [data.get("same") for data in made] == [None] * 5


def test_the_tags_of_its_run_are_told(db: sqlite3.Connection) -> None:
    tagged = replace(one_step("sales"), tags={"team": "shop"})
    admitted, _ = admit(db, [tagged], start=1, needs={}, now=10.0, version="v1")
    step = admitted.runs[0].started[0]
    finished = finish_step(db, StepResult(step.run_id, step.position, step.attempt, "succeeded", 20.0, VALUE))
    assert finished.events[0].data == {"begun": 10.0, "tags": {"team": "shop"}}


def test_a_failure_between_forgets_no_version(db: sqlite3.Connection) -> None:
    _make(db, "v1")
    step = _begin(db)
    finish_step(db, StepResult(step.run_id, 0, step.attempt, "failed", 20.0, error={"type": "E", "message": "m"}))
    assert _make(db, "v1")["same"] is True


def _changed(db: sqlite3.Connection, **versions: str | None) -> list[tuple[str | None, str | None, Any]]:
    """What is told of assets with these versions of their code."""
    specs = tuple(replace(spec, code_version=versions.get(spec.name)) for spec in DEFINITIONS.assets)
    events = register_definitions(db, replace(DEFINITIONS, assets=specs), 5.0)
    return [(event.asset, event.set, event.data) for event in events if event.type == "code_changed"]


def test_code_that_changes_is_told_once(db: sqlite3.Connection) -> None:
    assert _changed(db, raw="1", sales="1") == [], "they had none before"
    assert _changed(db, raw="1", sales="1") == []
    assert _changed(db, raw="2", sales="1") == [("raw", "batches", {"code_version": "2"})]
    assert _changed(db, raw="2", sales="1") == []
    assert _changed(db, raw="1", sales="3") == [
        ("raw", "batches", {"code_version": "1"}),
        ("sales", None, {"code_version": "3"}),
    ]


def test_code_that_was_away_is_compared_with_what_it_was(db: sqlite3.Connection) -> None:
    _changed(db, raw="1", sales="1")
    assert register_definitions(db, Definitions(version="v2"), 6.0)[0].type == "definitions_loaded"
    assert _changed(db, raw="1", sales=None) == []
    assert _changed(db, raw="2", sales="2") == [
        ("raw", "batches", {"code_version": "2"}),
        ("sales", None, {"code_version": "2"}),
    ]


def test_what_was_made_before_has_its_digest_and_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "earlier.db"
    known = load_migrations()
    with contextlib.closing(connect_writer(path, busy_timeout=1)) as db:
        migrate(db, path, known[:11], now=1.0)
        for table in (
            "assets (id, name) VALUES (1, 'made'), (2, 'reported')",
            "runs (id, kind, target, state, origin, created_at) VALUES (7, 'asset', 'made', 'succeeded', 'x', 1)",
            "steps (run_id, position, name, asset_id, state, started_at) VALUES (7, 0, 'made', 1, 'succeeded', 3)",
        ):
            db.execute(f"INSERT INTO {table}")
        state = "INSERT INTO asset_state (asset_id, partition, materialized_seq, materialized_at, run_id, value) VALUES"
        db.execute(f"""{state} (1, 0, 5, 4.0, 7, '["made/1.json","json",2,"abcd"]'), (2, 0, 6, 9.0, NULL, NULL)""")
        event = "INSERT INTO events (seq, txn, at, type, data) VALUES"
        db.execute(f"""{event} (5, 5, 4, 'materialized', '{{"rows":3}}'), (6, 6, 9, 'materialized', NULL)""")
        migrate(db, path, known, now=2.0)
        found = "SELECT json_array(data_version, begun_at) FROM asset_state ORDER BY asset_id"
        assert rows(db, found) == ['["abcd",3.0]', "[null,9.0]"]
        assert rows(db, "SELECT data FROM events ORDER BY seq") == ['{"metadata":{"rows":3}}', None]
