"""`freshet inbox` and `freshet replay`: what was delivered, and once more."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from freshet.cli.client import Client
from freshet.cli.commands.act import tick_lines
from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.tables import state_text, table
from freshet.cli.text import age, in_line, plain
from freshet.definitions.durations import parse_duration
from freshet.definitions.names import nearest_hint
from freshet.errors import DurationError, UnknownName
from freshet.http.models import DeliveryAnswer, DeliveryBodyAnswer, DeliveryState, HookAnswer, ReplayAnswer, ReplayBody

__all__ = ["Which", "replay", "show"]


@dataclass(frozen=True)
class Which:
    """The deliveries meant, as they were given."""

    ids: tuple[int, ...]
    since: str | None
    until: str | None
    every: bool


def show(session: Session, sensor: str | None, number: int | None, state: DeliveryState | None, limit: int) -> None:
    """All hooks; or the deliveries to one; or one delivery."""
    with session.client() as client:
        found: Any
        copies = 0
        sensor = None if sensor is None else _by_path(client, sensor)
        if sensor is None:
            found = client.hooks()
        elif number is None:
            found = client.deliveries(sensor, state=state, limit=limit)
            copies = sum(one.copies for one in client.hooks() if one.sensor == sensor)
        else:
            found = client.delivery(sensor, number)
    if session.json:
        print_json(found)
    elif sensor is None:
        _hooks(found)
    elif number is None:
        _deliveries(found)
        if copies:
            print(f"{copies:,} more since the start, of bodies that had come before, were taken for replays")  # noqa: T201
    else:
        _delivery(found)


def replay(session: Session, sensor: str, which: Which, *, dry_run: bool, again: bool) -> int:
    """Let deliveries wait again; 1 where a dry run fails."""
    ranged = which.since is not None or which.until is not None
    if [bool(which.ids), ranged, which.every].count(True) != 1:
        raise UsageError("which deliveries?", hint="give --id N..., or --since T --until T, or --all")
    now = time.time()
    body = ReplayBody(
        ids=which.ids or None,
        since=_instant(which.since, now, "--since"),
        until=_instant(which.until, now, "--until"),
        all=which.every,
        dry_run=dry_run,
        again=again,
    )
    with session.client() as client:
        answer = client.replay(_by_path(client, sensor), body)
    if session.json:
        print_json(answer)
    else:
        for line in _told(answer, again=again):
            print(line)  # noqa: T201
    return 1 if answer.dry_run is not None and answer.dry_run.error else 0


def _by_path(client: Client, name: str) -> str:
    """The sensor, also where the path of its hook is given."""
    path = name.removeprefix("/hooks").strip("/")
    if path == name and "/" not in name:
        return name
    hooks = {one.path: one.sensor for one in client.hooks()}
    if path not in hooks:
        raise UnknownName(f"there is no hook {name!r}", hint=nearest_hint(path, hooks) + "; or give the sensor's name")
    return hooks[path]


def _told(answer: ReplayAnswer, *, again: bool) -> list[str]:
    deliveries = "1 delivery" if answer.count == 1 else f"{answer.count:,} deliveries"
    if answer.dry_run is None:
        waited = answer.count - answer.returned
        told = f"{deliveries}: {answer.returned:,} wait again" + (f", {waited:,} waited already" if waited else "")
        return [told if again else f"{told} (what ran because of them does not run twice: see --again)"]
    lines = [f"{deliveries}; the first {len(answer.dry_run.deliveries):,} of them:", *tick_lines(answer.dry_run)]
    for one in answer.dry_run.deliveries:
        reason = f": {one['reason']}" if one["reason"] else ""
        lines.append(in_line(f"delivery {one['id']}: would be {one['outcome']}{reason}"))
    return lines


def _instant(text: str | None, now: float, what: str) -> float | None:
    if text is None:
        return None
    try:
        return now - parse_duration(text, what=what)
    except DurationError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise UsageError(
            f"{what} {text!r} is no time", hint="write 2026-03-01T02:30, or 2h for two hours ago"
        ) from None


def _hooks(found: list[HookAnswer]) -> None:
    now = time.time()
    table(
        ("sensor", "hook", "scheme", "#waiting", "oldest", "#parked"),
        (
            (
                *(one.sensor, f"/hooks/{one.path}", one.scheme + (" (observed)" if one.observe else "")),
                *(one.waiting, age(one.oldest, now), one.parked),
            )
            for one in found
        ),
        empty="no sensor has a hook",
    )
    problems = [f"{one.sensor}: {one.problem}" for one in found if one.problem]
    problems += [one.full for one in found[:1] if one.full]
    for said in problems:
        print(in_line(said))  # noqa: T201


def _deliveries(found: list[DeliveryAnswer]) -> None:
    now = time.time()
    table(
        ("#n", "delivery", "received", "state", "#attempts", "#bytes", "said"),
        (
            (
                *(one.id, one.delivery, age(one.received_at, now), state_text(one.state), one.attempts, one.size),
                one.reason or one.unsigned or "-",
            )
            for one in found
        ),
        empty="nothing was delivered",
    )


def _delivery(one: DeliveryBodyAnswer) -> None:
    print(in_line(f"delivery {one.id} ({one.delivery}): {one.state}, {one.attempts} attempts failed"))  # noqa: T201
    for name, value in (("reason", one.reason), ("signature", one.unsigned), ("content type", one.content_type)):
        if value is not None:
            print(in_line(f"{name}: {value}"))  # noqa: T201
    for target, partition, run_key in one.asked or ():
        print(in_line(f"asked for: {target}" + (f" [{partition}]" if partition else "") + f", run key {run_key}"))  # noqa: T201
    for name, value in one.headers.items():
        print(in_line(f"{name}: {value}"))  # noqa: T201
    print(plain(one.body if one.body is not None else f"(base64) {one.body_base64}"))  # noqa: T201
