"""The commands that show what steps kept to be looked at and what they map over, and their options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

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


def items(
    session: Session,
    run_id: Annotated[int, typer.Argument(metavar="RUN", min=1, help="The run's number.")],
    state: Annotated[
        Literal["running", "retrying", "succeeded", "failed", "canceled"] | None,
        typer.Option("--state", help="Only items in this state."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many of each call.")] = 20,
    cancel: Annotated[int | None, typer.Option("--cancel", metavar="ITEM", min=0, help="End this item alone.")] = None,
    call: Annotated[
        int | None, typer.Option("--call", metavar="N", min=0, help="Of this call, where the run has several.")
    ] = None,
) -> None:
    """Show the items that the steps of a run map over.

    With --cancel, end one of them: the others go on.
    """
    from freshet.cli.commands import items as body

    if cancel is None:
        body.show(session, run_id, call, state, limit)
    else:
        body.cancel(session, run_id, call, cancel)


def add_commands(command: Callable[[], Callable[[Callable[..., int | None]], Any]]) -> None:
    """Add them with `command`, which makes a decorator."""
    command()(artifacts)
    command()(items)
