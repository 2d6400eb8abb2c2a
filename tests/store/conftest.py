"""A raw database within one open transaction, so that a test costs no flush."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.store.support import open_database


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Migrated and empty."""
    with contextlib.closing(open_database(tmp_path / "freshet.db")) as connection:
        connection.execute("BEGIN")
        yield connection
