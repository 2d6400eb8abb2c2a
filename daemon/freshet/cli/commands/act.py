"""The commands that make something happen: materialize, call, cancel, tick, pause, resume."""

from __future__ import annotations

import json
from typing import Any

from freshet.cli.arguments import json_argument, parameters
from freshet.cli.client import Client
from freshet.cli.commands.backfill import backfill_id, change
from freshet.cli.commands.backfill import retry as retry_backfill
from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.text import error_text, in_line, plain
from freshet.definitions.names import nearest_hint
from freshet.errors import UnknownName
from freshet.http.models import (
    CallBody,
    MaterializeBody,
    RunsAdmitted,
    ScheduleAnswer,
    SensorAnswer,
    TickAnswer,
    TickBody,
)

__all__ = [
    "admitted",
    "call",
    "cancel",
    "clear_cache",
    "dropped_line",
    "materialize",
    "pause",
    "resume",
    "retry",
    "tick",
    "tick_lines",
]


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
        return admitted(session, client, client.materialize(body), wait=wait)


def call(session: Session, job: str, params: list[str], priority: int, *, wait: bool) -> int:
    """Ask for a run of a job, and watch if asked to."""
    body = CallBody(texts=parameters(params), priority=priority)
    with session.client() as client:
        return admitted(session, client, client.call(job, body), wait=wait)


def admitted(session: Session, client: Client, answer: RunsAdmitted, *, wait: bool) -> int:
    """Say which runs were admitted, or watch them."""
    if wait:
        from freshet.cli.watch import watch

        return watch(session, client, answer.runs)
    if session.json:
        print_json(answer)
    else:
        for run in answer.runs:
            print(f"run {run} (freshet logs {run} -f follows it)")  # noqa: T201
    return 0


def clear_cache(session: Session, asset: str, partition: str | None) -> None:
    """Forget what was made."""
    with session.client() as client:
        answer = client.clear_cache(asset, partition)
    if session.json:
        print_json(answer)
        return
    what = in_line(asset if partition is None else f"{asset} {partition}")
    print(f"{what}: {answer.forgotten or 'nothing was'} forgotten")  # noqa: T201


def cancel(session: Session, name: str) -> None:
    """End a run, or a backfill."""
    found = backfill_id(name)
    if found is not None:
        change(session, found, "cancel")
        return
    run_id = _run_id(name)
    with session.client() as client:
        answer = client.cancel(run_id)
    if session.json:
        print_json(answer)
    else:
        print(f"run {answer.id} is {answer.state}")  # noqa: T201


def retry(session: Session, name: str, *, whole: bool, wait: bool | None) -> int:
    """Ask for what a run, or a backfill, did not make, and watch if asked to."""
    found = backfill_id(name)
    if found is not None:
        if whole:
            raise UsageError("--all goes with a run", hint="freshet backfill ASSET... --all makes all partitions")
        return retry_backfill(session, found, wait=wait)
    run_id = _run_id(name)
    with session.client() as client:
        return admitted(session, client, client.retry(run_id, whole=whole), wait=bool(wait))


def _run_id(name: str) -> int:
    if not name.isascii() or not name.isdigit() or not 0 < len(name) < 19:
        raise UsageError(f"{name!r} is no run", hint="give a run's number, or backfill:ID")
    return int(name)


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
        for line in tick_lines(answer):
            print(line)  # noqa: T201
    return 1 if answer.error else 0


def tick_lines(answer: TickAnswer) -> list[str]:
    """What a tick by hand did, or would do."""
    would = "would " if answer.dry_run else ""
    lines = [f"{in_line(answer.sensor)}: {in_line(answer.status)}" + (" (dry run)" if answer.dry_run else "")]
    if answer.skip:
        lines.append(f"skipped: {in_line(answer.skip)}")
    for label, items in (
        (f"{would}run", answer.runs),
        (f"{would}change partitions", answer.partitions),
        (f"{would}report", answer.reports),
        ("would wait" if answer.dry_run else "waits", answer.pending),
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
    return dropped_line(item, partition=item["partition"], holder=item["held_by"])


def dropped_line(item: Any, *, partition: str | None, holder: int | None) -> str:
    """Which request was dropped, and why."""
    partition = "" if partition is None else f" [{partition}]"
    if item.get("reason") == "overlap":
        return in_line(f"{item['target']}{partition}: {f'run {holder} is' if holder else 'another is'} under way")
    if item.get("reason") == "chain":
        return in_line(f"{item['target']}{partition}: too long a chain of automatic runs led to it")
    taken = "is asked for twice" if holder is None else f"made run {holder}"
    if holder is not None and holder < 0:
        taken = f"waits as request {-holder}"
    return in_line(f"{item['target']}{partition}: run_key {json.dumps(item['run_key'], ensure_ascii=False)} {taken}")


def _shown(item: Any) -> str:
    if hasattr(item, "items"):
        item = {key: value for key, value in item.items() if value not in (None, {}, [], 0)}
    return in_line(json.dumps(item, ensure_ascii=False))


def pause(session: Session, name: str) -> None:
    """Stop a sensor, a schedule or a backfill."""
    found = backfill_id(name)
    if found is not None:
        change(session, found, "pause")
        return
    with session.client() as client:
        scheduled = _is_schedule(client, name)
        _ticker(session, client.pause_schedule(name) if scheduled else client.pause(name))


def resume(session: Session, name: str) -> None:
    """Let a sensor look, a schedule fire, or a backfill go on again."""
    found = backfill_id(name)
    if found is not None:
        change(session, found, "resume")
        return
    with session.client() as client:
        scheduled = _is_schedule(client, name)
        _ticker(session, client.resume_schedule(name) if scheduled else client.resume(name))


def _is_schedule(client: Client, name: str) -> bool:
    schedules = [one.name for one in client.schedules()]
    if name in schedules:
        return True
    sensors = [one.name for one in client.sensors()]
    if name not in sensors:
        hint = nearest_hint(name, [*sensors, *schedules])
        raise UnknownName(f"no sensor and no schedule is called {name!r}", hint=hint)
    return False


def _ticker(session: Session, answer: SensorAnswer | ScheduleAnswer) -> None:
    if session.json:
        print_json(answer)
    else:
        print(f"{in_line(answer.name)} is {answer.status}")  # noqa: T201
