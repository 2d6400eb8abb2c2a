"""The commands about what is kept: backup, restore, doctor; and their options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from freshet.cli.session import Session

__all__ = ["add_commands"]


def backup(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made anew; must not be there, or be empty.")],
    values: Annotated[
        bool, typer.Option("--values", help="With the values of assets: as hard links where that can be.")
    ] = False,
) -> None:
    """Copy all that is remembered, also while the daemon works.

    The copy is looked through before it gets its name. Without --values the assets' values are not in it, nor are the
    journals of runs in any case: nothing that is still to happen needs those.
    """
    from freshet.cli.commands import backup as body

    body.backup(session, folder, values=values)


def restore(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What freshet backup made.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also over a state that is there: it is put aside, not deleted.")
    ] = False,
) -> None:
    """Put a backup in the place of the state; no daemon may run.

    The backup is looked through first. What had ended when it was made does not run again; what was under way then
    does.
    """
    from freshet.cli.commands import backup as body

    body.restore(session, folder, force=force)


def doctor(session: Session) -> int:
    """Look for what may keep the daemon from its work.

    State directory, database, plugins, unit, limits, clock, disk; each finding with a remedy. Works with a daemon and
    without. Exit status 1 where something is bad.
    """
    from freshet.cli.commands import doctor as body

    return body.doctor(session)


def add_commands(command: Callable[..., Callable[[Callable[..., int | None]], Any]]) -> None:
    """Register them. `command`: the decorator of the application."""
    command("backup")(backup)
    command("doctor")(doctor)
    command("restore")(restore)
