"""Other definitions come into force while the daemon runs: in one transaction, the same that the start uses."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from freshet.definitions.graph import Definitions
from freshet.store.definitions import register_definitions
from freshet.store.freshness import asset_freshness
from freshet.store.records import Event, FreshnessRow, SetState, TickerRow
from freshet.store.renaming import rename
from freshet.store.sets import read_sets
from freshet.store.tickers import register_tickers

__all__ = ["Came", "bring_into_force"]


@dataclass(frozen=True, slots=True)
class Came:
    """What was committed. `sensors`, `schedules`: all tickers of the definitions; `sets`: as they are now, those that
    were asked for and those whose numbers mean something else; `freshness`: where assets stand. `renamed`: new names of
    assets by the old ones; `moved`: the assets whose numbers mean something else than before."""

    events: tuple[Event, ...]
    sensors: tuple[TickerRow, ...]
    schedules: tuple[TickerRow, ...]
    sets: dict[str, SetState]
    freshness: tuple[FreshnessRow, ...]
    renamed: dict[str, str]
    moved: frozenset[str]


def bring_into_force(
    db: sqlite3.Connection,
    definitions: Definitions,
    *,
    gone: Collection[tuple[str, str]],
    sets: Collection[str],
    now: float,
) -> Came:
    """Put definitions in force. `gone`: kind and name of the tickers that they have no more: what these have in flight
    is refused. `sets`: the names of those to be read."""
    db.executemany("UPDATE tickers SET revision = revision + 1 WHERE kind = ? AND name = ?", gone)
    renamed = rename(db, definitions)
    before: dict[str, int | None] = dict(db.execute("SELECT name, set_id FROM assets"))
    events = register_definitions(db, definitions, now)
    after: dict[str, int | None] = dict(db.execute("SELECT name, set_id FROM assets"))
    data: Any = next((event.data for event in events if event.type == "definitions_loaded"), None) or {}
    renumbered: dict[str, str] = data.get("renumbered", {})
    return Came(
        events,
        register_tickers(db, "sensor", [spec.name for spec in definitions.sensors]),
        register_tickers(db, "schedule", [spec.name for spec in definitions.schedules]),
        read_sets(db, {*sets, *renumbered}),
        asset_freshness(db),
        renamed,
        frozenset(name for name, set_id in after.items() if name in before and before[name] != set_id),
    )
