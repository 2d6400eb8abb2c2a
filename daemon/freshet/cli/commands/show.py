"""The commands that look: status, assets, sensors, runs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from rich.text import Text

from freshet.cli.commands.checks import show_checks
from freshet.cli.commands.sub_runs import show_sub_runs
from freshet.cli.freshness import freshness_text
from freshet.cli.offences import loop_held, show_offences
from freshet.cli.session import Session, print_json
from freshet.cli.tables import console, state_text, table
from freshet.cli.text import age, error_line, error_text, in_line, place, plain
from freshet.definitions.durations import format_duration
from freshet.http.models import (
    AssetAnswer,
    ProblemAnswer,
    RunAnswer,
    ScheduleAnswer,
    ScheduleTickAnswer,
    SensorAnswer,
    SkipAnswer,
    StatusAnswer,
)

__all__ = ["assets", "failing_schedule", "runs", "schedules", "sensors", "status"]

_LONG_LOOK = 2.0
"""Seconds after which a look is worth a word."""


def status(session: Session) -> None:
    """The daemon at a glance."""
    with session.client() as client:
        answer = client.status()
    if session.json:
        print_json(answer)
        return
    out = console()
    for label, value in _status_lines(answer):
        out.print(Text(f"{label:<9} ") + value)


def _status_lines(answer: StatusAnswer) -> list[tuple[str, Text]]:
    lines = [("freshet", _state(answer))]
    if answer.problem:
        lines.append(("problem", Text(in_line(answer.problem), style="red")))
    runs = Text(f"{answer.running} running ({answer.workers} slots), {answer.queued} queued")
    if answer.failed_runs:
        runs.append(f"   failed in the last hour: {answer.failed_runs}", style="red")
    failed = tuple(f"{name} ({count})" for name, count in answer.failed.items())
    if answer.stopped:
        stopped = ", ".join(f"{name} ({count})" for name, count in answer.stopped.items())
        lines.append(("loop", Text(f"chains of automatic runs stopped in the last day: {in_line(stopped)}", "red")))
    lines += [
        ("runs", runs),
        ("assets", _named(f"{answer.assets}", {"failed": failed, "lapsed": answer.lapsed})),
        ("sensors", _named(f"{answer.sensors}", {"failing": answer.troubled, "paused": answer.paused})),
        ("schedules", _named(f"{answer.schedules}", _of_schedules(answer))),
        ("jobs", Text(str(answer.jobs))),
        ("plugins", Text(f"version {in_line(answer.definitions_version[:12]) or '-'}")),
    ]
    if answer.loop.held:
        lines.append(("held", Text(loop_held(answer.loop, answer.now), "yellow")))
    if answer.load_problems:
        lines.append(("", Text("edited since, and not in force as they are now; see freshet plugins", "yellow")))
    if answer.host is not None:
        evaluators = len(answer.host.evaluators)
        words = f"pid {answer.host.pid}, {evaluators} evaluator{'s' * (evaluators != 1)}, workers by"
        lines.append(("host", Text(f"{words} {in_line(answer.host.start_method)}")))
    lines += [("error", Text(_problem(one), "red")) for one in answer.load_problems]
    lines += [("warning", Text(_problem(one), "yellow")) for one in answer.load_warnings]
    return lines


def _of_schedules(answer: StatusAnswer) -> dict[str, tuple[str, ...]]:
    return {"failing": answer.troubled_schedules, "paused": answer.paused_schedules}


def _state(answer: StatusAnswer) -> Text:
    """`ready for 3m, pid 7`; for any other state the time since the start is not the time in it."""
    up = format_duration(round(answer.now - answer.started_at))
    state = "degraded" if answer.problem and answer.state == "ready" else answer.state
    since = f" for {up}" if state == "ready" else f" (up {up})"
    return Text.assemble(answer.version, "  ", state_text(state), since, f", pid {answer.pid}")


def _problem(one: ProblemAnswer) -> str:
    return in_line(place(one.file, one.line) + one.message + (f" ({one.hint})" if one.hint else ""))


def _named(count: str, groups: dict[str, tuple[str, ...]]) -> Text:
    text = Text(count)
    for word, names in groups.items():
        if names:
            shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            text.append(f"   {word}: {in_line(shown)}", style="yellow" if word == "paused" else "red")
    return text


def assets(session: Session, name: str | None) -> None:
    """All assets, or one."""
    with session.client() as client:
        found = client.assets() if name is None else [client.asset(name)]
        checks = [] if name is None or session.json else client.checks.of(name)
    if session.json:
        print_json(found if name is None else found[0])
        return
    now = time.time()
    table(
        ("asset", "partitions", "#made", "#failed", "#active", "last made", "freshness"),
        (_asset_row(one, now) for one in found),
        empty="no plugin declares an asset",
    )
    if name is not None:
        console().print(_versions(found[0]))
        show_checks(checks)


def _versions(one: AssetAnswer) -> Text:
    """By which code, and of which data."""
    text = Text(f"code {in_line(one.code_version or '-')}")
    if one.outdated:
        text.append(f", last made by {in_line(one.made_by or '-')}", "yellow")
    return text.append(f"   data {in_line(one.data_version or '-')}")


def _asset_row(one: AssetAnswer, now: float) -> tuple[object, ...]:
    counts = one.counts
    made = f"{counts.materialized}/{counts.partitions}"
    return (
        one.name,
        one.partitions or "-",
        made,
        counts.failed or "-",
        counts.in_progress or "-",
        age(one.materialized_at, now),
        freshness_text(one, now),
    )


def sensors(session: Session, name: str | None) -> None:
    """All sensors and schedules, or one with its error."""
    with session.client() as client:
        scheduled = [one for one in client.schedules() if name in (None, one.name)]
        found = client.sensors() if name is None else [] if scheduled else [client.sensor(name)]
    if session.json:
        every = [*found, *scheduled]
        print_json(every if name is None else every[0])
        return
    now = time.time()
    rows = [*(_sensor_row(one, now) for one in found), *(_scheduled_row(one, now) for one in scheduled)]
    columns = ["name", "type", "status", "target", "#ticks", "last", "next", "lag", "skipped"]
    if all(row[-1] == "-" for row in rows):  # only schedules skip
        del columns[-1]
    table(columns, [row[: len(columns)] for row in rows], empty="no plugin declares a sensor or a schedule")
    for one in found:
        for said in _sensor_said(one, whole=name is not None):
            print(f"{in_line(one.name)}: {plain(said)}")  # noqa: T201
        if one.offences:
            show_offences(one.offences, now)
    _failing(scheduled)


def _scheduled_row(one: ScheduleAnswer, now: float) -> tuple[object, ...]:
    state = state_text(one.status)
    last, due = age(one.last_fired, now), _next(one, now)
    return one.name, "schedule", state, one.target or "-", "-", last, due, "-", _skipped(one.last_skip, now)


def _skipped(one: SkipAnswer | None, now: float) -> str:
    """When, how many, why."""
    return "-" if one is None else f"{age(one.last, now)}: {one.count} ({one.reason})"


def _next(one: ScheduleAnswer, now: float) -> str:
    """The instant to come, or when it is asked again about one that has passed."""
    return age(one.next, now) if one.held_at is None else f"again {age(max(one.retry_at or now, now), now)}"


def _failing(found: Iterable[ScheduleAnswer]) -> None:
    for one in found:
        if one.status == "failing":
            print(failing_schedule(one, time.time()))  # noqa: T201


def failing_schedule(one: ScheduleAnswer, now: float) -> str:
    """Which instant a failing schedule is held at, when it is asked again, and its last error, in one line."""
    held = "" if one.held_at is None else f", held at {_instant(one.held_at)}, asked {_next(one, now)}"
    times = "once" if one.failures == 1 else f"{one.failures} times"
    return f"{in_line(one.name)}: failed {times}{held}: {error_line(one.last_error, with_place=True)}"


def _sensor_said(one: SensorAnswer, *, whole: bool) -> Iterable[str]:
    """Why it does not look, and its error: in one line, or whole."""
    if one.quarantined:
        yield f"{one.quarantined}; freshet resume {one.name} lets it go on" + (
            ", an edit of it too" * bool(one.strikes)
        )
        if whole and "\n" in (text := error_text(one.last_error)):
            yield text
    elif one.waits_for:
        yield one.waits_for
    elif one.status == "failing":
        yield error_line(one.last_error, with_place=True)
        if whole and "\n" in (text := error_text(one.last_error)):
            yield text
    if one.notice:
        yield one.notice
    if whole and one.isolated:
        yield "it has an evaluator of its own, for what it did to the one that all share"
    if one.parked:
        many = "1 delivery is" if one.parked == 1 else f"{one.parked:,} deliveries are"
        yield f"{many} parked: freshet inbox {one.name} --state parked"


def _sensor_row(one: SensorAnswer, now: float) -> tuple[object, ...]:
    state = state_text(one.status)
    if one.failures:
        state.append(" (once)" if one.failures == 1 else f" ({one.failures} times)")
    due = _looking(one.looking_since, now) if one.in_flight else age(one.due_at, now)
    last = age(one.last_tick_at, now)
    return one.name, one.type, state, one.target or "-", one.ticks, last, due, _lag(one, now), "-"


def _lag(one: SensorAnswer, now: float) -> str:
    """How many items wait, and for how long the oldest does."""
    if not one.lag:
        return "-"
    return f"{one.lag:,}" if one.lag_since is None else f"{one.lag:,}, {format_duration(max(0.0, now - one.lag_since))}"


def _looking(since: float | None, now: float) -> str:
    long = 0.0 if since is None else now - since
    return f"looking for {format_duration(round(long))}" if long > _LONG_LOOK else "now"


def schedules(session: Session, name: str | None) -> None:
    """All schedules, or what became of one's instants."""
    with session.client() as client:
        if name is not None:
            history = client.schedule_history(name)
            _one_schedule(session, history, [one for one in client.schedules() if one.name == name])
            return
        found = client.schedules()
    if session.json:
        print_json(found)
        return
    now = time.time()
    table(
        ("schedule", "when", "zone", "target", "status", "last fired", "next", "skipped"),
        (
            (
                one.name,
                one.cron or f"every {format_duration(one.every or 0)}",
                one.timezone or "-",
                one.target or "-",
                state_text(one.status),
                age(one.last_fired, now),
                _next(one, now),
                _skipped(one.last_skip, now),
            )
            for one in found
        ),
        empty="no plugin declares a schedule",
    )
    _failing(found)


def _one_schedule(session: Session, history: list[ScheduleTickAnswer], standing: list[ScheduleAnswer]) -> None:
    """The schedule as it stands, with its last error, and what became of its instants (as JSON: `history`)."""
    if session.json:
        shown = [one.model_dump(mode="json") for one in history]
        print_json({**(standing[0].model_dump(mode="json") if standing else {}), "history": shown})
        return
    _schedule_history(history)
    _failing(standing)


def _schedule_history(found: list[ScheduleTickAnswer]) -> None:
    now = time.time()
    table(
        ("instant", "until", "#count", "became", "why", "decided"),
        (
            (
                _instant(one.nominal),
                _instant(one.until) if one.count > 1 else "-",
                one.count,
                one.status,
                one.reason or "-",
                age(one.decided_at, now),
            )
            for one in found
        ),
        empty="nothing has been decided yet",
    )


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def runs(session: Session, run_id: int | None, state: str | None, target: str | None, limit: int) -> None:
    """Runs, or one with its steps."""
    with session.client() as client:
        if run_id is not None:
            _one_run(session, client.run(run_id))
            return
        found = client.runs(state=state, target=target, limit=limit)
    if session.json:
        print_json(found)
        return
    now = time.time()
    table(
        ("#run", "target", "partition", "state", "steps", "asked for by", "created", "took"),
        (_run_row(one, now) for one in found),
        empty="no runs",
    )


def _run_state(one: RunAnswer, now: float) -> Text:
    """Its state, and what a reader asks next: what it waits for, or which of several steps failed."""
    again = next((step for step in one.steps if step.state == "retrying"), None)
    if again is not None and one.state == "started" and not any(step.state == "started" for step in one.steps):
        when = "" if again.not_before is None else f" {age(max(again.not_before, now), now)}"
        return state_text("retrying").append(f"{when} (attempt {again.attempt + 1})")
    state = state_text(one.state)
    if one.blocked_by:
        state.append(f" ({in_line(one.blocked_by)})")
    failed = [step.name for step in one.steps if step.state == "failed"]
    if one.state == "failed" and failed and len(one.steps) > 1:
        state.append(f" ({in_line(', '.join(failed))})")
    return state


def _run_row(one: RunAnswer, now: float) -> tuple[object, ...]:
    state = _run_state(one, now)
    done = sum(step.state == "succeeded" for step in one.steps)
    return (
        one.id,
        one.target,
        "-" if one.partition is None else one.partition,
        state,
        f"{done}/{len(one.steps)}",
        one.origin,
        age(one.created_at, now),
        _took(one.started_at, one.ended_at, now),
    )


def _one_run(session: Session, one: RunAnswer) -> None:
    if session.json:
        print_json(one)
        return
    now = time.time()
    table(
        ("#run", "target", "partition", "state", "steps", "asked for by", "created", "took"),
        [_run_row(one, now)],
        empty="",
    )
    table(
        ("step", "state", "#attempt", "took", "metadata"),
        (
            (
                step.name,
                state_text(step.state) if step.cached is None else f"as in run {step.cached}",
                step.attempt,
                _took(step.started_at, step.ended_at, now),
                step.metadata or "-",
            )
            for step in one.steps
        ),
        empty="no steps",
    )
    show_sub_runs(one)
    for step in one.steps:
        if step.error:
            print(f"{in_line(step.name)}: {plain(error_text(step.error))}")  # noqa: T201
    if one.error:
        print(plain(error_text(one.error)))  # noqa: T201


def _took(started: float | None, ended: float | None, now: float) -> str:
    if started is None:
        return "-"
    seconds = max(0.0, (now if ended is None else ended) - started)
    return format_duration(seconds) + ("..." if ended is None else "")
