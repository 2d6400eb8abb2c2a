"""The command that shows what steps kept to be looked at, and its options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from freshet.cli.session import Session

__all__ = ["add_commands"]


def artifacts(
    session: Session,
    run_id: Annotated[int, typer.Argument(metavar="RUN", min=1, help="The run's number.")],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this one.")] = None,
    step: Annotated[
        str | None, typer.Option("--step", metavar="NAME", help="Of this step, where several have it.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")] = None,
) -> None:
    """Show what the steps of a run kept to be looked at.

    Texts, tables, links and pictures; a picture needs --output.
    """
    from freshet.cli.commands import artifacts as body

    if name is None:
        body.show(session, run_id)
    else:
        body.print_one(session, run_id, name, step, output)


def add_commands(command: Callable[[], Callable[[Callable[..., int | None]], Any]]) -> None:
    """Add it with `command`, which makes a decorator."""
    command()(artifacts)
