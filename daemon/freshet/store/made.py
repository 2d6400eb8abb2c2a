"""A partition of an asset is made: its state and its event, in whichever transaction it was."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Any

from freshet.definitions.outcome import Json
from freshet.store.codec import dump_optional, dump_value
from freshet.store.ending import is_idle
from freshet.store.events import EventLog
from freshet.store.freshness import Fresh, keep_fresh
from freshet.store.records import ValueRef

__all__ = ["Made", "made_data", "write_made"]


@dataclass(frozen=True, slots=True)
class Made:
    """What was made, of which asset's partition of `set`. `begun`: when the work began, in epoch seconds; of a report,
    when it was said to be made. `version`: of the data, None where nothing is known; `code`: of what made it. `told`:
    a report said when it was made, as `at`. `cached`: the run that had made it before. `held`: its blocking checks
    are still to come. `tags`: of the run."""

    asset_id: int
    asset: str
    set: str | None
    partition: int
    at: float
    begun: float
    version: str | None = None
    code: str | None = None
    value: ValueRef | None = None
    metadata: dict[str, Json] = field(default_factory=dict[str, Json])
    run_id: int | None = None
    tick_id: int | None = None
    told: bool = False
    tags: dict[str, str] = field(default_factory=dict[str, str])
    cached: int | None = None
    held: bool = False


def write_made(db: sqlite3.Connection, log: EventLog, made: Made) -> int:
    """Put it into the state of assets, and its `materialized` into the log; returns the event's number.

    The event's data: `metadata`, the data's `version`, `same` (True: as the partition's version before), `begun`;
    `at` where a report said when; `cached` where it was made before, by which run; `stale` (True: its freshness stays
    warned or lapsed all the same); `held` (True: those below it are not to be told before its blocking checks have
    passed); the run's `tags`, if any.

    A report of what runs make too leaves the value that the last of them kept: those below go on reading that one.
    """
    place = (made.asset_id, made.partition)
    before = None
    if made.version is not None or made.held:
        before = db.execute(
            "SELECT data_version, held FROM asset_state WHERE asset_id = ? AND partition = ?", place
        ).fetchone()
    data = made_data(made.metadata, made.begun, made.version)
    if before is not None and before[0] == made.version and made.version is not None:
        data["same"] = True
    if made.tags:
        data["tags"] = made.tags
    held = 0
    if made.held:
        data["held"] = True
        held = 2 if "same" in data and before is not None and before[1] != 1 else 1
    if made.told:
        data["at"] = made.at
    if made.cached is not None:
        data["cached"] = {"run": made.cached}
    seq = log.add(
        "materialized",
        asset=made.asset,
        set=made.set,
        partition=made.partition,
        run_id=made.run_id,
        tick_id=made.tick_id,
        idle=is_idle(db, *place),
        data=data,
    )
    db.execute(
        """
        INSERT OR REPLACE INTO asset_state (asset_id, partition, materialized_seq, materialized_at, run_id, value,
            metadata, data_version, code_version, begun_at, held) VALUES (?1, ?2, ?3, ?4, ?5,
            iif(?5 IS NULL, (SELECT value FROM asset_state WHERE asset_id = ?1 AND partition = ?2), ?6),
            ?7, ?8, ?9, ?10, ?11)
        """,
        (
            *(*place, seq, made.at, made.run_id, dump_value(made.value), dump_optional(made.metadata or None)),
            *(made.version, made.code, made.begun, held),
        ),
    )
    known = Fresh(made.asset_id, made.asset, made.set, made.partition, seq, made.at, made.begun, made.told)
    if keep_fresh(db, log, known):
        data["stale"] = True  # the event is written when the transaction is whole
    return seq


def made_data(metadata: dict[str, Json], begun: float, version: str | None = None) -> dict[str, Any]:
    """The data of such an event; what is not known is left out."""
    told: dict[str, Any] = {"metadata": metadata} if metadata else {}
    if version is not None:
        told["version"] = version
    return {**told, "begun": begun}
