"""The commands about plugins."""

from __future__ import annotations

import sys
import time

from freshet.cli.session import Session, print_json
from freshet.cli.tables import state_text, table
from freshet.cli.text import age, in_line, place, plain
from freshet.http.models import ProblemAnswer

__all__ = ["reload", "show"]


def show(session: Session) -> int:
    """Each plugin file by itself: 1 where one is not in force as it is."""
    with session.client() as client:
        answer = client.plugins()
    if session.json:
        print_json(answer)
    else:
        now = time.time()
        rows = ((in_line(one.file), state_text(one.state), age(one.since, now)) for one in answer)
        table(("file", "state", "since"), rows, empty="no plugins")
        for one in answer:
            if one.problem is not None:
                print(_line(one.problem), file=sys.stderr)  # noqa: T201
                print(plain(one.problem.traceback), end="", file=sys.stderr)  # noqa: T201
    return 1 if any(one.state not in ("loaded", "unchanged") for one in answer) else 0


def reload(session: Session) -> int:
    """Load the plugins as they are now: 1 where they are not put in force."""
    with session.client() as client:
        answer = client.reload()
    if session.json:
        print_json(answer)
    else:
        for one in answer.problems:
            print(_line(one), file=sys.stderr)  # noqa: T201
        said = {"changed": "in force", "unchanged": "nothing has changed", "refused": "the last good plugins stay"}
        if answer.settings_problem is not None:
            print(f"{_line(answer.settings_problem)}\nthe settings of before stay", file=sys.stderr)  # noqa: T201
        for what, names in (("changed", answer.settings_changed), ("wants a restart", answer.settings_waiting)):
            for name in names:
                print(in_line(f"{what}: {name}"))  # noqa: T201
        print(in_line(f"{said[answer.outcome]}: version {answer.version[:12]}"))  # noqa: T201
    return 1 if answer.outcome == "refused" or answer.settings_problem is not None else 0


def _line(one: ProblemAnswer) -> str:
    hint = f"\nhint: {one.hint}" if one.hint else ""
    return plain(f"{place(one.file, one.line)}error: {one.message}{hint}")
