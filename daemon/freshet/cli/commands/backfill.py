"""`freshet backfill`, `backfills`, and what is done to one."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Literal

from freshet.cli.client import Client
from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.tables import state_text, table
from freshet.cli.text import age, in_line
from freshet.http.models import BackfillAnswer, BackfillBody, BackfillSelect

__all__ = ["Wishes", "backfill_id", "begin", "change", "retry", "show"]

_PREFIX = "backfill:"


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of `freshet backfill`."""

    partitions: str | None
    every: bool
    missing: bool
    failed: bool
    downstream: bool
    upstream: bool
    single_run: bool
    priority: int
    tags: list[str]

    def select(self) -> BackfillSelect:
        """The one selection. Raises `UsageError` for none or several."""
        given: dict[BackfillSelect, bool] = {
            "partitions": self.partitions is not None,
            "all": self.every,
            "missing": self.missing,
            "failed": self.failed,
        }
        chosen: list[BackfillSelect] = [name for name, is_given in given.items() if is_given]
        if len(chosen) != 1:
            said = " and ".join(f"--{name}" for name in chosen) + " together" if chosen else "which partitions?"
            raise UsageError(said, hint="give one of --partitions A..B, --all, --missing, --failed")
        return chosen[0]


def backfill_id(name: str) -> int | None:
    """12 for `backfill:12`; None for what is no backfill. Raises `UsageError` for `backfill:x`."""
    if not name.startswith(_PREFIX):
        return None
    text = name.removeprefix(_PREFIX)
    if not text.isascii() or not text.isdigit() or not 0 < len(text) < 19:
        raise UsageError(f"{name!r} is no backfill", hint="write backfill:ID; freshet backfills lists them")
    return int(text)


def begin(session: Session, assets: list[str], wishes: Wishes, *, wait: bool | None) -> int:
    """Ask for a backfill, say what it will do, and watch if asked to."""
    body = BackfillBody(
        assets=tuple(assets),
        select=wishes.select(),
        partitions=wishes.partitions,
        upstream=wishes.upstream,
        downstream=wishes.downstream,
        single_run=wishes.single_run,
        priority=wishes.priority,
        tags=_tags(wishes.tags),
    )
    with session.client() as client:
        return _begun(session, client, client.backfill_begin(body), wait=wait)


def retry(session: Session, found: int, *, wait: bool | None) -> int:
    """Begin what another left unmade."""
    with session.client() as client:
        return _begun(session, client, client.backfill_change(found, "retry"), wait=wait)


def change(session: Session, found: int, what: Literal["pause", "resume", "cancel"]) -> None:
    """Pause, resume, cancel."""
    with session.client() as client:
        answer = client.backfill_change(found, what)
    if session.json:
        print_json(answer)
    else:
        print(f"backfill {answer.id} is {answer.state}")  # noqa: T201


def show(session: Session, found: int | None, limit: int, *, wait: bool) -> int:
    """All, or one in full."""
    if found is None and wait:
        raise UsageError("--wait goes with one backfill", hint="freshet backfills ID --wait")
    with session.client() as client:
        if found is None:
            _list(session, client.backfills(limit=limit))
            return 0
        if wait:
            return _watch(session, client, found)
        answer = client.backfill(found)
        if session.json:
            print_json(answer)
        else:
            _one(answer)
        return 0


def _begun(session: Session, client: Client, answer: BackfillAnswer, *, wait: bool | None) -> int:
    waits = sys.stdout.isatty() and not session.json if wait is None else wait
    if session.json and not waits:
        print_json(answer)
    elif not session.json:
        for line in _plan(answer):
            print(line, flush=True)  # noqa: T201
    return _watch(session, client, answer.id) if waits else 0


def _watch(session: Session, client: Client, found: int) -> int:
    from freshet.cli.backfill_watch import watch

    return watch(session, client, found)


def _plan(answer: BackfillAnswer) -> list[str]:
    many = f"in {_count(answer.planned_runs, 'run')}" if answer.planned_runs is not None else ""
    notes = f" ({'; '.join(map(in_line, answer.notes))})" if answer.notes else ""
    lines = [f"backfill {answer.id}: {_count(answer.total('wanted'), 'partition')} {many}".rstrip() + notes]
    lines += [f"  {in_line(one.asset)}: {one.wanted:,}" for one in answer.progress]
    return [*lines, f"freshet backfills {answer.id} shows how far it is, freshet pause {_PREFIX}{answer.id} holds it"]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _list(session: Session, answers: list[BackfillAnswer]) -> None:
    if session.json:
        print_json(answers)
        return
    now = time.time()
    table(
        ("#id", "state", "assets", "of", "#wanted", "#done", "#failed", "#blocked", "begun"),
        (
            (
                *(one.id, state_text(one.state), ", ".join(one.assets), one.partitions or one.select),
                *(one.total("wanted"), one.total("done"), one.total("failed"), one.total("blocked")),
                age(one.created_at, now),
            )
            for one in answers
        ),
        empty="no backfills",
    )


def _one(answer: BackfillAnswer) -> None:
    from freshet.cli.backfill_watch import summary

    print(in_line(summary(answer)))  # noqa: T201
    table(
        ("asset", "#wanted", "#done", "#failed", "#blocked", "#running", "#left"),
        (
            (one.asset, one.wanted, one.done, one.failed, one.blocked, one.in_flight, one.left)
            for one in answer.progress
        ),
        empty="nothing of it is there any more",
    )
    if answer.error:
        print(in_line(answer.error))  # noqa: T201
    if answer.retried_by is not None:
        print(f"backfill {answer.retried_by} was begun to make what was left: freshet backfills {answer.retried_by}")  # noqa: T201
    elif answer.ended and answer.state != "succeeded":
        print(f"freshet retry {_PREFIX}{answer.id} makes what is left")  # noqa: T201


def _tags(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--tag {pair!r} is not K=V", hint="for example --tag team=sales")
        found[name] = value
    return found
