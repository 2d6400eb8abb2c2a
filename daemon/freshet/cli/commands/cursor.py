"""`freshet cursor`: what a sensor remembers."""

from __future__ import annotations

import time

from freshet.cli.arguments import json_argument
from freshet.cli.session import Session, print_json
from freshet.cli.tables import state_text, table
from freshet.cli.text import age, error_line
from freshet.http.models import TickRowAnswer

__all__ = ["get", "history", "set"]


def get(session: Session, sensor: str) -> None:
    """Print the cursor, as JSON in any case."""
    with session.client() as client:
        answer = client.cursor(sensor)
    print_json(answer if session.json else answer.cursor)


def set(session: Session, sensor: str, value: str) -> None:
    """Replace the cursor."""
    cursor = json_argument(value, "the cursor")
    with session.client() as client:
        answer = client.set_cursor(sensor, cursor)
    print_json(answer if session.json else answer.cursor)


def history(session: Session, sensor: str, limit: int) -> None:
    """Ticks that had an effect or failed."""
    with session.client() as client:
        found = client.history(sensor, limit=limit)
    if session.json:
        print_json(found)
        return
    now = time.time()
    table(
        ("#tick", "status", "when", "#runs", "#partitions", "#items", "said"),
        (_row(one, now) for one in found),
        empty="no tick has had an effect or failed",
    )


def _row(one: TickRowAnswer, now: float) -> tuple[object, ...]:
    said = error_line(one.error) if one.error else one.skip or "-"
    state = state_text("ok" if one.status == "committed" else one.status)
    return one.id, state, age(one.ended_at, now), one.runs, one.partitions_added, one.ledger_added, said
