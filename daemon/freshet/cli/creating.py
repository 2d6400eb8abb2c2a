"""The commands that write a start, and their options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from freshet.cli.session import Session, global_options

__all__ = ["add_commands"]

_Name = Annotated[str, typer.Argument(metavar="NAME", help="What it is to be called; the file is NAME.py.")]
_Dir = Annotated[
    Path | None, typer.Option("--dir", metavar="PATH", help="The folder of plugins [that of the configuration].")
]


def sensor(session: Session, name: _Name, dir: _Dir = None) -> None:
    """Write a sensor, and the job that it asks for."""
    from freshet.cli.commands import new

    new.write(session, "sensor", name, dir)


def asset(session: Session, name: _Name, dir: _Dir = None) -> None:
    """Write an asset that is made when it gets too old, and a check of it."""
    from freshet.cli.commands import new

    new.write(session, "asset", name, dir)


def plugin(session: Session, name: _Name, dir: _Dir = None) -> None:
    """Write a sensor with partitions and assets, and tests of them.

    The tests are in the folder tests/ beside it, which no daemon loads.
    """
    from freshet.cli.commands import new

    new.write(session, "plugin", name, dir)


def add_commands(command: Callable[..., Callable[[Callable[..., int | None]], Any]], app: typer.Typer) -> None:
    """Register them. `command`: the decorator of the application."""
    group = typer.Typer(
        name="new",
        help="Write a commented start of a sensor, asset or plugin.",
        rich_markup_mode=None,
        callback=global_options,
    )
    for body in (sensor, asset, plugin):
        command(body.__name__, of=group)(body)
    app.add_typer(group)
