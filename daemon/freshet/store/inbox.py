"""The durable inbox: deliveries inserted once, handed out in order, settled with the tick that looked at them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from freshet.definitions.outcome import Json
from freshet.errors import UnknownName
from freshet.store.codec import dump, load, load_optional
from freshet.store.records import DeliveryRow, HandledDelivery, InboxCount, Kept, NewDelivery, WaitingDelivery
from freshet.store.records.inbox import ATTEMPTS, PATIENCE, PUT_OFF, DeliveryState

__all__ = [
    "body_of",
    "chosen",
    "deliveries_of",
    "delivery_row",
    "delivery_rows",
    "inbox_counts",
    "keep_deliveries",
    "keys_to_free",
    "release",
    "settle",
    "waiting_deliveries",
]

_INSERT = """
INSERT INTO inbox (ticker_id, delivery, digest, signed, received_at, unsigned, content_type, headers, size, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_HANDED = "SELECT id, delivery, content_type, headers, attempts, received_at, body FROM inbox"
_SHOWN = """
SELECT id, delivery, state, attempts, received_at, unsigned, decided_at, tick_id, reason, asked, content_type, headers,
    size FROM inbox
"""


def keep_deliveries(db: sqlite3.Connection, deliveries: Sequence[NewDelivery]) -> tuple[Kept, ...]:
    """Insert what was not here before. The UNIQUE constraints decide: of two alike in one call the second is `same`."""
    return tuple(_keep(db, one) for one in deliveries)


def _keep(db: sqlite3.Connection, one: NewDelivery) -> Kept:
    inserted = db.execute(
        _INSERT,
        (
            *(one.ticker, one.delivery, one.digest, one.signed, one.received_at, one.unsigned, one.content_type),
            *(dump(one.headers), len(one.body), one.body),
        ),
    )
    if inserted.rowcount == 1:
        assert inserted.lastrowid is not None
        return Kept(inserted.lastrowid, "new")
    found = db.execute(
        "SELECT id, digest FROM inbox WHERE ticker_id = ? AND delivery = ?", (one.ticker, one.delivery)
    ).fetchone()
    if found is not None:
        return Kept(found[0], "same" if found[1] == one.digest else "other")
    (before,) = db.execute(
        "SELECT id FROM inbox WHERE ticker_id = ? AND signed = ?", (one.ticker, one.signed)
    ).fetchone()
    return Kept(before, "copy")


def waiting_deliveries(
    db: sqlite3.Connection, ticker_id: int, after: int, limit: int, size: int, *, again: bool, now: float
) -> tuple[tuple[WaitingDelivery, ...], bool]:
    """Those that wait behind row `after`, in order: at most `limit`, and no more than `size` bytes of bodies unless the
    first is larger; and whether there are more. `again`: also those that have failed before, or were put off until
    before `now`."""
    rows = db.execute(
        f"""{_HANDED} WHERE ticker_id = ? AND state = 'waiting' AND id > ? AND ((attempts = 0 AND later IS NULL)
        OR (? AND coalesce(later, 0) <= ?)) ORDER BY id LIMIT ?""",
        (ticker_id, after, again, now, limit + 1),
    )
    return _handed(rows, limit, size)


def deliveries_of(
    db: sqlite3.Connection, ticker_id: int, ids: Sequence[int], after: int, limit: int, size: int
) -> tuple[tuple[WaitingDelivery, ...], bool]:
    """The same of named rows, whatever their state."""
    rows = db.execute(
        f"""{_HANDED} WHERE ticker_id = ? AND id IN (SELECT value FROM json_each(?)) AND id > ?
        ORDER BY id LIMIT ?""",  # noqa: S608
        (ticker_id, dump(list(ids)), after, limit + 1),
    )
    return _handed(rows, limit, size)


def _handed(rows: sqlite3.Cursor, limit: int, size: int) -> tuple[tuple[WaitingDelivery, ...], bool]:
    found: list[WaitingDelivery] = []
    for row_id, delivery, content_type, headers, attempts, received_at, body in rows:
        size -= len(body)
        if (size < 0 and found) or len(found) == limit:
            return tuple(found), True
        found.append(WaitingDelivery(row_id, delivery, content_type, load(headers), attempts, received_at, body))
    return tuple(found), False


def settle(
    db: sqlite3.Connection, ticker_id: int, tick_id: int, handled: Sequence[HandledDelivery], now: float
) -> tuple[int, tuple[int, ...]]:
    """Write down what a tick made of deliveries. Returns how many wait no more, and which of them are now parked."""
    left, parked = 0, list[int]()
    for one in handled:
        if one.outcome == "later" and _put_off(db, ticker_id, tick_id, one, now):
            continue
        failed = one.outcome in ("failed", "later")
        row = db.execute(
            """
            UPDATE inbox SET state = CASE WHEN NOT ?1 THEN ?2 WHEN attempts + 1 >= ?3 THEN 'parked' ELSE 'waiting' END,
                attempts = attempts + ?1, reason = ?4, decided_at = ?5, tick_id = ?6, asked = ?7, later = NULL
            WHERE id = ?8 AND ticker_id = ?9 AND state = 'waiting' RETURNING state
            """,
            (
                *(failed, one.outcome, ATTEMPTS, one.reason, now, tick_id, dump(one.asked) if one.asked else None),
                *(one.id, ticker_id),
            ),
        ).fetchone()
        if row is not None and row[0] != "waiting":
            left += 1
            if failed:
                parked.append(one.id)
    return left, tuple(parked)


def _put_off(db: sqlite3.Connection, ticker_id: int, tick_id: int, one: HandledDelivery, now: float) -> bool:
    """Let a delivery wait, uncounted; False where it has been waiting for too long, or does not wait."""
    return (
        db.execute(
            """
            UPDATE inbox SET later = ?, reason = ?, decided_at = ?, tick_id = ?
            WHERE id = ? AND ticker_id = ? AND state = 'waiting' AND received_at > ?
            """,
            (now + min(one.after, PUT_OFF), one.reason, now, tick_id, one.id, ticker_id, now - PATIENCE),
        ).rowcount
        == 1
    )


def release(db: sqlite3.Connection, ticker_id: int, ids: Sequence[int], *, again: bool) -> int:
    """Let deliveries wait again, as if they had just come; returns how many did not wait before. `again`: free the run
    keys that they took, so that what ran may run once more."""
    wanted = dump(list(ids))
    if again:
        free = "DELETE FROM run_keys WHERE target = ? AND partition = ? AND run_key = ?"
        db.executemany(
            free, [(target, key or "", run_key) for target, key, run_key in keys_to_free(db, ticker_id, ids)]
        )
    (waited,) = db.execute(
        """
        SELECT count(*) FROM inbox WHERE ticker_id = ? AND state = 'waiting'
            AND id IN (SELECT value FROM json_each(?))
        """,
        (ticker_id, wanted),
    ).fetchone()
    changed = db.execute(
        """
        UPDATE inbox SET state = 'waiting', attempts = 0, reason = NULL, decided_at = NULL, later = NULL
        WHERE ticker_id = ? AND id IN (SELECT value FROM json_each(?))
        """,
        (ticker_id, wanted),
    ).rowcount
    return int(changed - waited)


def keys_to_free(db: sqlite3.Connection, ticker_id: int, ids: Sequence[int]) -> frozenset[tuple[str, str | None, str]]:
    """The run keys that deliveries took, each with its target and its partition's key, and that have a run: what is
    asked for and has none yet keeps its key."""
    asked = db.execute(
        """
        SELECT asked FROM inbox WHERE ticker_id = ? AND asked IS NOT NULL AND id IN (SELECT value FROM json_each(?))
        """,
        (ticker_id, dump(list(ids))),
    ).fetchall()
    keys = {(target, key, run_key) for (text,) in asked for target, key, run_key in load(text) if run_key}
    taken = "SELECT 1 FROM run_keys WHERE target = ? AND partition = ? AND run_key = ? AND run_id > 0"
    return frozenset(one for one in keys if db.execute(taken, (one[0], one[1] or "", one[2])).fetchone() is not None)


def chosen(
    db: sqlite3.Connection,
    ticker_id: int,
    ids: Sequence[int] | None,
    since: float | None,
    until: float | None,
) -> tuple[int, ...]:
    """The rows meant: those named, or those received from `since` up to, not including, `until` (None: no bound).
    Raises `UnknownName` for one that is not there."""
    if ids is None:
        rows = db.execute(
            """
            SELECT id FROM inbox WHERE ticker_id = ?1 AND (?2 IS NULL OR received_at >= ?2)
                AND (?3 IS NULL OR received_at < ?3) ORDER BY id
            """,
            (ticker_id, since, until),
        )
        return tuple(row_id for (row_id,) in rows)
    known = {
        row_id
        for (row_id,) in db.execute(
            "SELECT id FROM inbox WHERE ticker_id = ? AND id IN (SELECT value FROM json_each(?))",
            (ticker_id, dump(list(ids))),
        )
    }
    for row_id in ids:
        if row_id not in known:
            raise UnknownName(f"the sensor has no delivery {row_id}", hint="see freshet inbox SENSOR")
    return tuple(sorted(known))


def inbox_counts(db: sqlite3.Connection) -> Mapping[int, InboxCount]:
    """By ticker, of those that have something waiting or parked."""
    found: dict[int, InboxCount] = {}
    for ticker, count, first in db.execute(
        "SELECT ticker_id, count(*), min(id) FROM inbox WHERE state = 'waiting' GROUP BY ticker_id"
    ).fetchall():
        (oldest,) = db.execute("SELECT received_at FROM inbox WHERE id = ?", (first,)).fetchone()
        found[ticker] = InboxCount(ticker, count, oldest, 0)
    for ticker, count in db.execute(
        "SELECT ticker_id, count(*) FROM inbox WHERE state = 'parked' GROUP BY ticker_id"
    ).fetchall():
        known = found.get(ticker)
        found[ticker] = InboxCount(ticker, known.waiting if known else 0, known.oldest if known else None, count)
    return found


def delivery_rows(
    db: sqlite3.Connection, ticker_id: int, state: DeliveryState | None, limit: int, before: int | None
) -> tuple[DeliveryRow, ...]:
    """Deliveries, newest first; `before`: only those with a smaller id."""
    rows = db.execute(
        f"""{_SHOWN} WHERE ticker_id = ?1 AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR id < ?3)
        ORDER BY id DESC LIMIT ?4""",
        (ticker_id, state, before, limit),
    )
    return tuple(_shown(row) for row in rows)


def delivery_row(db: sqlite3.Connection, ticker_id: int, row_id: int) -> DeliveryRow | None:
    """One of them, None where it is not there."""
    row = db.execute(f"{_SHOWN} WHERE ticker_id = ? AND id = ?", (ticker_id, row_id)).fetchone()
    return None if row is None else _shown(row)


def body_of(db: sqlite3.Connection, row_id: int) -> bytes:
    """The raw body of a delivery that is there."""
    (body,) = db.execute("SELECT body FROM inbox WHERE id = ?", (row_id,)).fetchone()
    found: bytes = body
    return found


def _shown(row: Sequence[Json]) -> DeliveryRow:
    row_id, delivery, state, attempts, received_at, unsigned, decided_at, tick_id, reason, asked, *rest = row
    content_type, headers, size = rest
    known = (row_id, delivery, state, attempts, received_at, unsigned, decided_at, tick_id, reason)
    return DeliveryRow(*known, load_optional(asked), content_type, load(headers), size)
