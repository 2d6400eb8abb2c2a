"""The commands that make something happen: materialize, call, cancel, tick, pause, resume."""

from __future__ import annotations

import json
from typing import Any

from freshet.cli.arguments import json_argument, parameters
from freshet.cli.client import Client
from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.text import error_text, in_line, plain
from freshet.http.models import CallBody, MaterializeBody, RunsAdmitted, SensorAnswer, TickAnswer, TickBody

__all__ = ["call", "cancel", "materialize", "pause", "resume", "tick"]


def materialize(
    session: Session,
    assets: list[str],
    partition: str | None,
    upstream: bool,
    downstream: bool,
    priority: int,
    *,
    wait: bool,
) -> int:
    """Ask for assets, and watch if asked to."""
    body = MaterializeBody(
        assets=tuple(assets), partition=partition, upstream=upstream, downstream=downstream, priority=priority
    )
    with session.client() as client:
        return _admitted(session, client, client.materialize(body), wait=wait)


def call(session: Session, job: str, params: list[str], priority: int, *, wait: bool) -> int:
    """Ask for a run of a job, and watch if asked to."""
    body = CallBody(params=parameters(params), priority=priority)
    with session.client() as client:
        return _admitted(session, client, client.call(job, body), wait=wait)


def _admitted(session: Session, client: Client, answer: RunsAdmitted, *, wait: bool) -> int:
    if wait:
        from freshet.cli.watch import watch

        return watch(session, client, answer.runs)
    if session.json:
        print_json(answer)
    else:
        for run in answer.runs:
            print(f"run {run} (freshet logs {run} -f follows it)")  # noqa: T201
    return 0


def cancel(session: Session, run_id: int) -> None:
    """End a run."""
    with session.client() as client:
        answer = client.cancel(run_id)
    if session.json:
        print_json(answer)
    else:
        print(f"run {answer.id} is {answer.state}")  # noqa: T201


def tick(session: Session, sensor: str, *, dry_run: bool, cursor: str | None) -> int:
    """Let a sensor look; 1 if it failed."""
    if cursor is not None and not dry_run:
        raise UsageError("--cursor goes with --dry-run", hint="freshet cursor set SENSOR JSON replaces the cursor")
    body = TickBody(dry_run=dry_run)
    if cursor is not None:
        body = TickBody(dry_run=dry_run, cursor=json_argument(cursor, "--cursor"))
    with session.client() as client:
        answer = client.tick(sensor, body)
    if session.json:
        print_json(answer)
    else:
        for line in _tick_lines(answer):
            print(line)  # noqa: T201
    return 1 if answer.error else 0


def _tick_lines(answer: TickAnswer) -> list[str]:
    would = "would " if answer.dry_run else ""
    lines = [f"{in_line(answer.sensor)}: {in_line(answer.status)}" + (" (dry run)" if answer.dry_run else "")]
    if answer.skip:
        lines.append(f"skipped: {in_line(answer.skip)}")
    for label, items in (
        (f"{would}run", answer.runs),
        (f"{would}change partitions", answer.partitions),
        (f"{would}report", answer.reports),
    ):
        lines += [f"{label}: {_shown(item)}" for item in items]
    lines += [f"{'would be ' * answer.dry_run}dropped: {_dropped(item)}" for item in answer.dropped]
    if answer.ledger_added or answer.ledger_removed:
        lines.append(f"ledger: {answer.ledger_added} added, {answer.ledger_removed} removed")
    if answer.cursor != answer.cursor_before:
        lines.append(f"cursor: {_shown(answer.cursor_before)} -> {_shown(answer.cursor)}")
    if answer.error:
        lines.append(plain(error_text(answer.error)))
    return lines


def _dropped(item: Any) -> str:
    partition = "" if item["partition"] is None else f" [{item['partition']}]"
    holder = "is asked for twice" if item["held_by"] is None else f"made run {item['held_by']}"
    return in_line(f"{item['target']}{partition}: run_key {json.dumps(item['run_key'], ensure_ascii=False)} {holder}")


def _shown(item: Any) -> str:
    if hasattr(item, "items"):
        item = {key: value for key, value in item.items() if value not in (None, {}, [], 0)}
    return in_line(json.dumps(item, ensure_ascii=False))


def pause(session: Session, sensor: str) -> None:
    """Stop a sensor."""
    with session.client() as client:
        _sensor(session, client.pause(sensor))


def resume(session: Session, sensor: str) -> None:
    """Let a sensor look again."""
    with session.client() as client:
        _sensor(session, client.resume(sensor))


def _sensor(session: Session, answer: SensorAnswer) -> None:
    if session.json:
        print_json(answer)
    else:
        print(f"{in_line(answer.name)} is {answer.status}")  # noqa: T201
