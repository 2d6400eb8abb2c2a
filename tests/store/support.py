"""What the store's tests share: a raw database file, definitions, and connections that fail on command."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pyroaring import BitMap

from freshet.definitions.asset import AssetSpec
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import DynamicPartitions, StaticPartitions
from freshet.store.assets import asset_bits
from freshet.store.connection import connect_writer
from freshet.store.definitions import register_definitions
from freshet.store.migrations import load_migrations, migrate
from freshet.store.partitions import change_partitions
from freshet.store.records import PartitionDelta, RunToAdmit, StepToAdmit, ValueRef

BATCHES = DynamicPartitions("batches")
REGIONS = StaticPartitions(["north", "south"], name="regions")
VALUE = ValueRef("raw/a/1.json", "json", 12, "00ff")

DEFINITIONS = Definitions(
    assets=(
        AssetSpec("raw", partitions=BATCHES, freshness=FreshnessSpec(within=3600.0, warn=1800.0)),
        AssetSpec("clean", partitions=BATCHES),
        AssetSpec("sales", freshness=FreshnessSpec(within=60.0)),
        AssetSpec("by_region", partitions=REGIONS),
    ),
    partitions=(BATCHES,),
    version="v1",
)


def open_database(path: Path) -> sqlite3.Connection:
    """A migrated database file, without the store around it."""
    db = connect_writer(path, busy_timeout=1.0)
    migrate(db, path, load_migrations(), now=0.0)
    return db


def populate(db: sqlite3.Connection, *keys: str) -> None:
    """The definitions above, and keys of `batches`."""
    register_definitions(db, DEFINITIONS, 1.0)
    change_partitions(db, PartitionDelta("batches", tuple((key, {"path": key}) for key in keys)), 2.0)


def one_step(asset: str, *, set: str | None = None, key: str | None = None, **more: Any) -> RunToAdmit:
    """A run of one asset."""
    return RunToAdmit("asset", asset, (StepToAdmit(asset),), "test", set=set, key=key, **more)


def states(db: sqlite3.Connection, what: Literal["materialized", "failed", "in_progress"]) -> set[tuple[str, int]]:
    """Assets with the numbers of their partitions that are in this state."""
    bits: dict[str, BitMap] = {asset: getattr(found, what) for asset, found in asset_bits(db).items()}
    return {(asset, number) for asset, numbers in bits.items() for number in numbers}


def rows(db: sqlite3.Connection, sql: str, *values: Any) -> list[Any]:
    """All rows; of one column, its values."""
    found = db.execute(sql, values).fetchall()
    return [row[0] if len(row) == 1 else row for row in found]


def sqlite_error(code: int) -> Exception:
    """What Python's sqlite3 raises for a result code."""
    if code == sqlite3.SQLITE_NOMEM:
        return MemoryError()
    error = sqlite3.OperationalError(f"injected {code}")
    error.sqlite_errorcode = code
    return error


Script = Callable[[sqlite3.Connection, str, Callable[[str], object]], None]
"""Called before each statement with the connection, its text, and a way to run others really. May raise."""


def failing(script: Script, *, opening: Callable[[], None] = lambda: None) -> type[sqlite3.Connection]:
    """A class of connections that ask `script` before each statement, and `opening` before they open."""

    class Failing(sqlite3.Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            opening()
            super().__init__(*args, **kwargs)

        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            script(self, sql, super().execute)
            return super().execute(sql, parameters)

    return Failing
