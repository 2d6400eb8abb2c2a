"""The commands about what waits to run, and their options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from freshet.cli.session import Session
from freshet.definitions.names import PRIORITY_MAX

__all__ = ["add_commands"]

_Pool = Annotated[str, typer.Argument(metavar="NAME", help="A pool of the settings.")]


def pools(session: Session) -> None:
    """Show the pools, and how many steps wait for them."""
    from freshet.cli.commands import queue

    queue.pools(session)


def pool(
    session: Session,
    name: _Pool,
    pause: Annotated[bool, typer.Option("--pause", help="Start nothing more of it; what runs goes on.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Start its steps again.")] = False,
    drain: Annotated[bool, typer.Option("--drain", help="As --pause, and wait until nothing of it runs.")] = False,
) -> None:
    """Show a pool; pause, drain or resume it.

    A pause lasts until it is resumed, through restarts.
    """
    from freshet.cli.commands import queue

    queue.pool(session, name, pause=pause, resume=resume, drain=drain)


def priority(
    session: Session,
    run: Annotated[int, typer.Argument(metavar="RUN", help="A run that has not ended.")],
    number: Annotated[
        int,
        typer.Argument(metavar="N", min=-PRIORITY_MAX, max=PRIORITY_MAX, help="Higher goes first [0 for most runs]."),
    ],
) -> None:
    """Change the priority of what a run has yet to start."""
    from freshet.cli.commands import queue

    queue.priority(session, run, number)


def add_commands(command: Callable[..., Callable[[Callable[..., int | None]], Any]]) -> None:
    """Register them. `command`: the decorator of the application."""
    command()(pools)
    command()(pool)
    command()(priority)
