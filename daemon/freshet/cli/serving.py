"""The commands about the service that systemd keeps, and their options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from freshet.cli.session import Session, global_options

__all__ = ["add_commands"]

_User = Annotated[
    bool | None,
    typer.Option("--user/--system", help="Of the user who calls, or of the machine [of the machine for root]."),
]
_Folder = Annotated[
    Path | None, typer.Option("--folder", metavar="PATH", help="Where the units are, in place of systemd's folder.")
]
_Force = Annotated[bool, typer.Option("--force", help="Also a unit that somebody edited.")]


def install(
    session: Session,
    user: _User = None,
    account: Annotated[
        str, typer.Option("--as", metavar="NAME", help="The user that a service of the machine runs as.")
    ] = "freshet",
    credential: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:PATH]", help="Hand over this credential too; cred:NAME in plugins is found."),
    ] = None,
    folder: _Folder = None,
    now: Annotated[bool, typer.Option("--now", help="And start it, at every boot too.")] = False,
    force: _Force = False,
) -> None:
    """Write the systemd units of this configuration.

    freshet.service, and freshet.socket, which holds the port while the daemon starts anew. Paths of the interpreter and
    of the configuration are those in use. Says what to run next, or with --now runs it.
    """
    from freshet.cli.commands import service

    service.install(session, service.Where.of(user, folder), account, credential or [], now=now, force=force)


def uninstall(session: Session, user: _User = None, folder: _Folder = None, force: _Force = False) -> None:
    """Stop the service and remove its units; the state stays."""
    from freshet.cli.commands import service

    service.uninstall(session, service.Where.of(user, folder), force=force)


def status(session: Session, user: _User = None, folder: _Folder = None) -> int:
    """Show whether the units are there and what systemd says of them.

    Exit status 1 unless they are, as this configuration would have them.
    """
    from freshet.cli.commands import service

    return service.status(session, service.Where.of(user, folder))


def add_commands(command: Callable[..., Callable[[Callable[..., int | None]], Any]], app: typer.Typer) -> None:
    """Register them. `command`: the decorator of the application."""
    group = typer.Typer(
        name="service", help="Run under systemd: install, remove, look.", rich_markup_mode=None, callback=global_options
    )
    command("install", of=group)(install)
    command("uninstall", of=group)(uninstall)
    command("status", of=group)(status)
    app.add_typer(group)
