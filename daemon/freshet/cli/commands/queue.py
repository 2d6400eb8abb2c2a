"""Pools and priorities."""

from __future__ import annotations

import time

from freshet.cli.client import Client
from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.tables import table
from freshet.cli.text import in_line
from freshet.definitions.names import nearest_hint
from freshet.errors import UnknownName
from freshet.http.models import PoolAnswer, PriorityBody, RateAnswer

__all__ = ["pool", "pools", "priority"]

_LOOK_AGAIN = 0.5
_UNITS = {86400.0: "day", 3600.0: "h", 60.0: "min", 1.0: "s"}


def pools(session: Session) -> None:
    """All of them."""
    with session.client() as client:
        _print(session, client.pools())


def pool(session: Session, name: str, *, pause: bool, resume: bool, drain: bool) -> None:
    """One, after what is asked for was done to it. Raises `UsageError` where that is two things."""
    if pause + resume + drain > 1:
        raise UsageError("--pause, --resume and --drain are three things", hint="give one of them")
    with session.client() as client:
        if resume:
            found = client.change_pool(name, "resume")
        elif pause or drain:
            found = client.change_pool(name, "pause")
        else:
            found = _find(client, name)
        while drain and found.status == "paused":
            time.sleep(_LOOK_AGAIN)
            found = _find(client, name)
    _print(session, [found], one=True)


def _find(client: Client, name: str) -> PoolAnswer:
    found = {one.name: one for one in client.pools()}
    if name not in found:
        raise UnknownName(f"there is no pool {name!r}", hint=nearest_hint(name, found))
    return found[name]


def priority(session: Session, run: int, number: int) -> None:
    """Of a run that has not ended."""
    with session.client() as client:
        found = client.set_priority(run, PriorityBody(priority=number))
    if session.json:
        print_json(found)
    else:
        why = f" ({in_line(found.blocked_by)})" if found.blocked_by else ""
        print(f"run {found.id} is {found.state}, at priority {found.priority}{why}")  # noqa: T201


def _print(session: Session, found: list[PoolAnswer], *, one: bool = False) -> None:
    if session.json:
        print_json(found[0] if one else found)
        return
    table(
        ("pool", "#slots", "#in use", "#waiting", "rate", "status"),
        ((each.name, each.slots, each.in_use, each.waiting, _rate(each.rate), each.status) for each in found),
        empty="no pools; the settings name them: [pools] warehouse = 4",
    )


def _rate(rate: RateAnswer | None) -> str:
    if rate is None:
        return "-"
    unit = next(seconds for seconds in _UNITS if rate.seconds % seconds == 0)
    count = int(rate.seconds // unit)
    return f"{rate.count}/{count if count > 1 else ''}{_UNITS[unit]}"
