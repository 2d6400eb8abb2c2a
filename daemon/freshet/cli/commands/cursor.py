"""`freshet cursor`: what a sensor remembers."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from freshet.cli.arguments import json_argument
from freshet.cli.commands.act import dropped_line
from freshet.cli.session import Session, print_json
from freshet.cli.tables import state_text, table
from freshet.cli.text import age, error_line, in_line
from freshet.http.models import RollbackAnswer, TickRowAnswer

__all__ = ["get", "history", "rollback", "set"]

_SHOWN = 20


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
    if answer.has_ledger:
        told = f"what its ledger knows stays seen; freshet cursor rollback {sensor} --to TICK sets back both"
        print(in_line(told), file=sys.stderr)  # noqa: T201


def history(session: Session, sensor: str, limit: int) -> None:
    """Ticks that had an effect or failed."""
    with session.client() as client:
        found = client.history(sensor, limit=limit)
    if session.json:
        print_json(found)
        return
    now = time.time()
    table(
        ("#tick", "status", "when", "#runs", "#dropped", "#partitions", "#items", "said"),
        (_row(one, now) for one in found),
        empty="no tick has had an effect or failed",
    )


def _row(one: TickRowAnswer, now: float) -> tuple[object, ...]:
    dropped: list[Any] = one.dropped or []
    said = error_line(one.error, with_place=True) if one.error else one.skip or (_why(dropped[0]) if dropped else "-")
    state = state_text("ok" if one.status == "committed" else one.status)
    counts = (one.runs, len(dropped), one.partitions_added, one.ledger_added)
    return one.id, state, age(one.ended_at, now), *counts, said


def _why(dropped: Any) -> str:
    """Why a request was dropped."""
    return in_line(f"dropped: {dropped_line(dropped, partition=dropped.get('key'), holder=dropped.get('run_id'))}")


def rollback(session: Session, sensor: str, to: int, *, again: bool, dry_run: bool) -> None:
    """Back to the end of a tick."""
    with session.client() as client:
        answer = client.roll_back(sensor, to, again=again, dry_run=dry_run)
    if session.json:
        print_json(answer)
        return
    for line in _lines(answer):
        print(line)  # noqa: T201


def _lines(answer: RollbackAnswer) -> list[str]:
    would = "would be " if answer.dry_run else ""
    lines = [
        f"{in_line(answer.sensor)}: {would}rolled back to the end of tick {answer.to}",
        f"cursor: {_json(answer.cursor_before)} -> {_json(answer.cursor)}",
        f"ledger: {answer.ledger_removed:,} {would}removed, {answer.ledger_restored:,} {would}as they were then",
    ]
    what = (
        f"{would}free again: they may run once more" if answer.again else "stay taken: what they ran does not run twice"
    )
    lines.append(f"run keys taken since: {answer.run_key_count:,}" + (f" ({what})" if answer.run_key_count else ""))
    lines += [f"  {_key(one)}" for one in answer.run_keys[:_SHOWN]]
    if answer.run_key_count > _SHOWN:
        lines.append(f"  and {answer.run_key_count - _SHOWN:,} more (--json names a thousand)")
    if answer.waiting:
        lines.append(f"requests that wait: {answer.waiting:,} (they stay, and run once)")
    if answer.takes_deliveries:
        lines.append("deliveries: none comes back; see freshet replay")
    return lines


def _key(one: Any) -> str:
    partition = "" if one["key"] is None else f" [{one['key']}]"
    made = f"run {one['run_id']}" if one["run_id"] else "in a run with others"
    return in_line(f"{one['target']}{partition}: {one['run_key']}, {made}")


def _json(value: Any) -> str:
    return in_line(json.dumps(value, ensure_ascii=False))
