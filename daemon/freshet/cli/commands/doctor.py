"""`freshet doctor`: all that may keep a daemon from its work, each with a remedy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict

from freshet.cli.checkup import daemon, machine, state
from freshet.cli.checkup.finding import Finding, bad
from freshet.cli.session import Session, print_json
from freshet.cli.text import plain
from freshet.configuration import load_settings
from freshet.errors import SettingsError

__all__ = ["doctor"]

_MARKS = {"ok": "ok     ", "warning": "warning", "bad": "BAD    "}


def doctor(session: Session) -> int:
    """Say what was found; 1 where something is bad."""
    found = list(_found(session))
    ill = any(one.verdict == "bad" for one in found)
    if session.json:
        print_json({"ok": not ill, "findings": [asdict(one) for one in found]})
    else:
        for one in found:
            print(plain(f"{_MARKS[one.verdict]}  {one.what}: {one.said}"))  # noqa: T201
            if one.remedy:
                print(plain(f"         -> {one.remedy}"))  # noqa: T201
    return 1 if ill else 0


def _found(session: Session) -> Iterator[Finding]:
    yield from machine.interpreter()
    try:
        settings = load_settings(session.config)
    except SettingsError as error:
        yield bad("configuration", error.message, error.hint or "freshet check says more")
        return
    yield from state.folder(settings.state_dir)
    yield from state.room(settings.state_dir)
    yield from state.temporary()
    yield from state.database(settings.state_dir, time.time())
    yield from daemon.running(session, settings.state_dir)
    yield from daemon.plugins(settings)
    yield from daemon.unit(session)
    yield from machine.limits()
    yield from machine.clock()
