"""Which parts of an outcome cannot be, found by trying: nothing of it stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from freshet.errors import FreshetError
from freshet.store.events import EventLog
from freshet.store.records import TickCommit
from freshet.store.ticks import apply_parts

__all__ = ["probe"]


def probe(db: sqlite3.Connection, parts: Sequence[TickCommit]) -> tuple[str | None, ...]:
    """Try partitions, reports and runs of each part in turn, on top of those before it that were possible; for each
    the reason why it is not, None where it is."""
    found: list[str | None] = []
    db.execute("SAVEPOINT probe")
    for part in parts:
        db.execute("SAVEPOINT part")
        try:
            log = EventLog(db, part.ended_at)
            apply_parts(db, log, part)
            log.write()
        except FreshetError as error:
            db.execute("ROLLBACK TO part")
            found.append(str(error))
        else:
            found.append(None)
        db.execute("RELEASE part")
    db.execute("ROLLBACK TO probe")
    db.execute("RELEASE probe")
    return tuple(found)
