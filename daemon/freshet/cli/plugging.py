"""The commands about plugins, and their options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from freshet.cli.session import Session

__all__ = ["add_commands"]


def check(session: Session) -> int:
    """Load configuration and plugins; say what is wrong.

    Starts nothing, and needs no daemon. Exit status 1 where something is wrong: fit for ExecStartPre.
    """
    from freshet.cli.commands import local

    return local.check(session)


def reload(session: Session) -> int:
    """Read the settings and the plugins again.

    Settings that can change while the daemon runs do, the others are named. Plugins are put in force if all is well
    with them; else the last good ones stay, and the exit status is 1.
    """
    from freshet.cli.commands import plugins

    return plugins.reload(session)


def plugins(session: Session) -> int:
    """Show each plugin file: whether it is in force, and why not.

    The exit status is 1 where one is not.
    """
    from freshet.cli.commands import plugins

    return plugins.show(session)


def add_commands(command: Callable[..., Callable[[Callable[..., int | None]], Any]]) -> None:
    """Register them. `command`: the decorator of the application."""
    command("check")(check)
    command("plugins")(plugins)
    command("reload")(reload)
