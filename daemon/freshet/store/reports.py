"""Materializations that happened elsewhere, as they are reported: by a tick, or by hand."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace

from freshet.errors import Conflict, UnknownName
from freshet.store.events import EventLog
from freshet.store.interning import intern
from freshet.store.made import Made, made_data, write_made
from freshet.store.records import Event, PartitionRef, ReportedMaterialization

__all__ = ["Reported", "report", "report_into"]


@dataclass(frozen=True, slots=True)
class Reported:
    """`counted`: False for a report that is not later than what was known. `seq`: of its event."""

    seq: int
    counted: bool
    events: tuple[Event, ...]


def report(db: sqlite3.Connection, reported: ReportedMaterialization, now: float) -> Reported:
    """Commit one report. Raises as `report_into`."""
    log = EventLog(db, now)
    seq, counted = report_into(db, log, reported)
    return Reported(seq, counted, log.write())


def report_into(
    db: sqlite3.Connection, log: EventLog, reported: ReportedMaterialization, *, tick_id: int | None = None
) -> tuple[int, bool]:
    """Commit a report with others; returns its event's number and whether it counted.

    One that says when (`at`) counts if that is later than the last materialization of its partition; a time to come is
    taken for now. Otherwise its event is `reported`, and neither the asset's state nor its freshness moves. Without
    `at` it always counts. Raises `UnknownName` and `Conflict` for an asset or partition that is not there.
    """
    row = db.execute(
        "SELECT a.id, ps.name FROM assets a LEFT JOIN partition_sets ps ON ps.id = a.set_id WHERE a.name = ?",
        (reported.asset,),
    ).fetchone()
    if row is None:
        raise UnknownName(f"there is no asset {reported.asset!r}")
    asset_id, set_name = row
    if (set_name is None) != (reported.key is None):
        has = "has no partitions" if set_name is None else f"is partitioned by {set_name!r}"
        raise Conflict(f"Report: the asset {reported.asset!r} {has}", hint="mend its partition=")
    number = 0
    if reported.key is not None:
        ref = PartitionRef(set_name, reported.key, reported.number, reported.parts)
        number = intern(db, log, [ref], log.at, tick_id=tick_id)[ref].number
    at = log.at if reported.at is None else min(reported.at, log.at)
    if reported.at is not None and not _is_news(db, asset_id, number, at):
        data = {**made_data(reported.metadata, at, reported.data_version), "at": at}
        seq = log.add("reported", asset=reported.asset, set=set_name, partition=number, tick_id=tick_id, data=data)
        return seq, False
    made = Made(asset_id, reported.asset, set_name, number, at, at, reported.data_version, tick_id=tick_id)
    made = replace(made, metadata=reported.metadata, told=reported.at is not None)
    return write_made(db, log, made), True


def _is_news(db: sqlite3.Connection, asset_id: int, number: int, at: float) -> bool:
    known = db.execute(
        """
        SELECT 1 FROM asset_state WHERE asset_id = ? AND partition = ? AND materialized_seq IS NOT NULL
        AND materialized_at >= ?
        """,
        (asset_id, number, at),
    ).fetchone()
    return known is None
