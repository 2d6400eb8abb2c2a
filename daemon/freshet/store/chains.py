"""Chains of automatic runs, each asked for because of the one before: how long one is, and where it ends.

The depth of a run is the number of runs that led to it: 0 for what a person, a schedule or a source outside asked for.
A wave is one run, however many assets it makes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from freshet.store.codec import dump
from freshet.store.records import Cause, RunToAdmit

__all__ = ["caused", "keep_max_chain", "max_chain", "stopped_since"]

_KEY = "max_chain"
_FIRST: Cause = (0, None)

_OF_EVENTS = """
SELECT depth + 1, id FROM runs WHERE id IN (SELECT value FROM json_each(?1))
UNION ALL SELECT depth, NULL FROM ticks WHERE id IN (SELECT value FROM json_each(?2)) AND depth > 0
ORDER BY 1 DESC LIMIT 1
"""
_LAST_MADE = """
SELECT r.depth + 1, r.id FROM assets a CROSS JOIN runs r ON r.id = (
    SELECT s.run_id FROM asset_state s INDEXED BY asset_state_latest
    WHERE s.asset_id = a.id ORDER BY s.materialized_seq DESC LIMIT 1)
WHERE a.name = ?
"""


def keep_max_chain(db: sqlite3.Connection, most: int) -> None:
    """From now on no run is admitted that more than so many automatic runs led to."""
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_KEY, str(most)))


def max_chain(db: sqlite3.Connection) -> int | None:
    """As kept; None before that."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
    return None if row is None else int(row[0])


def caused(
    db: sqlite3.Connection,
    runs: Sequence[RunToAdmit],
    by: tuple[Iterable[int], Iterable[int]],
    later: Mapping[int, tuple[str, ...]],
) -> tuple[RunToAdmit, ...]:
    """The runs with their causes. `by`: the runs and the ticks whose events were looked at. `later`: by the index of a
    run whose cause came before these events, the assets that it depends on: those who made them last led to it."""
    if not runs:
        return ()
    now: Cause = db.execute(_OF_EVENTS, (dump(sorted(by[0])), dump(sorted(by[1])))).fetchone() or _FIRST
    made: dict[str, Cause] = {}
    found: list[RunToAdmit] = []
    for index, run in enumerate(runs):
        depth, cause = now
        if index in later:
            for asset in later[index]:
                if asset not in made:
                    made[asset] = db.execute(_LAST_MADE, (asset,)).fetchone() or _FIRST
            depth, cause = max((made[asset] for asset in later[index]), key=lambda one: one[0], default=_FIRST)
        found.append(replace(run, depth=depth, cause=cause) if depth else run)
    return tuple(found)


def stopped_since(db: sqlite3.Connection, since: float) -> dict[str, int]:
    """How often chains were stopped since then, by asset or job."""
    rows = db.execute(
        """
        SELECT coalesce(a.name, e.data ->> 'target'), count(*) FROM events e INDEXED BY events_stopped
        LEFT JOIN assets a ON a.id = e.asset_id WHERE e.type = 'chain_stopped' AND e.at >= ? GROUP BY 1 ORDER BY 1
        """,
        (since,),
    )
    return dict(rows)
