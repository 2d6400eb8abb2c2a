"""The schema: numbered, recorded, backed up, and never half applied."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.store.support import open_database, rows

from freshet.errors import SchemaTooNew, StoreError
from freshet.store.connection import connect_writer
from freshet.store.migrations import Migration, load_migrations, migrate, statements
from freshet.store.store import Store

SNAPSHOT = Path(__file__).parent / "schema.snapshot.sql"

KNOWN = len(load_migrations())
NEXT = KNOWN + 1

ONE = Migration(1, "one", load_migrations()[0].sql)
TWO = Migration(
    2, "two", "CREATE TABLE second (a TEXT) STRICT;\n-- a remark; with a semicolon\nINSERT INTO second VALUES (';');\n"
)


def schema(db: sqlite3.Connection) -> str:
    texts = rows(db, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY name")
    return "".join(re.sub(r"\s+", " ", text) + ";\n" for text in texts)


def test_the_schema_is_the_snapshot(tmp_path: Path) -> None:
    """Changed on purpose? Write a migration, then put the new schema into the snapshot."""
    with contextlib.closing(open_database(tmp_path / "freshet.db")) as db:
        assert schema(db) == SNAPSHOT.read_text()


def test_numbers_count_from_one_without_gaps() -> None:
    assert [migration.number for migration in load_migrations()] == list(range(1, len(load_migrations()) + 1))


def test_every_statement_is_found_once() -> None:
    trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  DELETE FROM a;\n  SELECT 1;\nEND;\n"
    script = f"CREATE TABLE a (b);\n\n-- x;\n{trigger}-- end\n"
    assert [text.splitlines()[-1] for text in statements(script)] == ["CREATE TABLE a (b);", "END;"]


def test_a_script_that_ends_within_a_statement_is_refused() -> None:
    with pytest.raises(StoreError, match="within a statement"):
        list(statements("SELECT 1;\nSELECT 2"))


def test_applied_once_with_its_record(tmp_path: Path) -> None:
    path = tmp_path / "freshet.db"
    with contextlib.closing(connect_writer(path, busy_timeout=1)) as db:
        assert migrate(db, path, [ONE, TWO], now=7.0) == (1, 2)
        assert migrate(db, path, [ONE, TWO], now=8.0) == ()
        recorded = rows(db, "SELECT number, name, checksum, applied_at FROM migrations")
        assert recorded == [(1, "one", ONE.checksum, 7.0), (2, "two", TWO.checksum, 7.0)]
        assert rows(db, "SELECT a FROM second") == [";"]
        assert rows(db, "PRAGMA foreign_keys") == [1]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("CREATE TABLE second (a TEXT);\nINSERT INTO nowhere VALUES (1);\n", "nowhere"),
        ("CREATE TABLE second (a TEXT);\nINSERT INTO ledger VALUES (99, x'00', x'00', 'k', 1);\n", "pointing nowhere"),
    ],
)
def test_an_error_in_the_middle_leaves_neither_the_change_nor_its_record(
    tmp_path: Path, sql: str, message: str
) -> None:
    path = tmp_path / "freshet.db"
    with contextlib.closing(open_database(path)) as db:
        before = schema(db)
        with pytest.raises((sqlite3.Error, StoreError), match=message):
            migrate(db, path, [*load_migrations(), Migration(NEXT, "bad", sql)], now=1.0)
        assert schema(db) == before
        assert rows(db, "SELECT count(*) FROM migrations") == [KNOWN]
        assert rows(db, "PRAGMA foreign_keys") == [1]


_KILLED = """
import os, sys
from pathlib import Path
from freshet.store.connection import connect_writer
from freshet.store.migrations import Migration, load_migrations, migrate
path = Path(sys.argv[1])
db = connect_writer(path, busy_timeout=1)
db.create_function("die", 0, lambda: os.kill(os.getpid(), 9))
sql = "PRAGMA cache_size = 1;\\nCREATE TABLE second (a BLOB);\\n"
sql += "INSERT INTO second VALUES (zeroblob(100000));\\n" * 20 + "SELECT die();\\n"
migrate(db, path, [*load_migrations(), Migration(len(load_migrations()) + 1, "killed", sql)], now=1.0)
"""


def test_a_kill_in_the_middle_leaves_neither(tmp_path: Path) -> None:
    path = tmp_path / "freshet.db"
    with contextlib.closing(open_database(path)) as db:
        before = schema(db)
    child = subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    assert child.returncode == -9
    with contextlib.closing(open_database(path)) as db:
        assert schema(db) == before
        assert rows(db, "SELECT count(*) FROM migrations") == [KNOWN]


def test_an_existing_database_is_copied_aside_first(tmp_path: Path) -> None:
    path = tmp_path / "freshet.db"
    with contextlib.closing(open_database(path)) as db:
        db.execute("INSERT INTO meta VALUES ('kept', 'yes')")
        assert sorted(file.name for file in tmp_path.iterdir() if "schema" in file.name) == []
        migrate(db, path, [*load_migrations(), Migration(NEXT, "two", TWO.sql)], now=1.0)
    with contextlib.closing(sqlite3.connect(tmp_path / f"freshet.db.schema-{KNOWN:04}")) as copy:
        assert rows(copy, "SELECT value FROM meta WHERE key = 'kept'") == ["yes"]
        assert rows(copy, "SELECT count(*) FROM migrations") == [KNOWN]
        assert rows(copy, "PRAGMA integrity_check") == ["ok"]
    assert not [file for file in tmp_path.iterdir() if file.name.endswith(".part")]


def test_a_changed_migration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "freshet.db"
    with contextlib.closing(open_database(path)) as db, pytest.raises(StoreError, match="in another form"):
        migrate(db, path, [Migration(1, "spine", "SELECT 1;"), *load_migrations()[1:]], now=1.0)


@pytest.mark.anyio
async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "freshet.db"
    with contextlib.closing(open_database(path)) as db:
        migrate(db, path, [*load_migrations(), Migration(NEXT, "two", TWO.sql)], now=1.0)
    with pytest.raises(SchemaTooNew, match=f"has schema {NEXT}, this Freshet knows {KNOWN}") as caught:
        await Store.open(path, now=2.0)
    assert caught.value.hint


@pytest.mark.anyio
async def test_another_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "freshet.db"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (a)")
    with pytest.raises(StoreError, match="something else"):
        await Store.open(path, now=2.0)


@pytest.mark.anyio
async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "freshet.db"
    path.write_bytes(b"not a database, " * 1000)
    with pytest.raises(StoreError, match="not a database") as caught:
        await Store.open(path, now=2.0)
    assert "backup" in caught.value.hint


@pytest.mark.anyio
async def test_a_folder_that_is_not_there_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open") as caught:
        await Store.open(tmp_path / "nowhere" / "freshet.db", now=2.0)
    assert "nowhere" in caught.value.hint
