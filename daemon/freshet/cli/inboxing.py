"""The commands about deliveries and their options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from freshet.cli.session import Session

__all__ = ["add_commands"]

When = "an instant such as 2026-03-01T02:30 (local time), or how long ago: 2h"


def inbox(
    session: Session,
    sensor: Annotated[
        str | None,
        typer.Argument(metavar="SENSOR", help="Of this one (or /hooks/PATH)."),
    ] = None,
    number: Annotated[int | None, typer.Argument(metavar="N", min=1, help="Only this one, with its body.")] = None,
    state: Annotated[
        Literal["waiting", "admitted", "filtered", "rejected", "parked"] | None,
        typer.Option(help="Only deliveries in this state."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
) -> None:
    """Show hooks and what was delivered to them."""
    from freshet.cli.commands import inbox as body

    body.show(session, sensor, number, state, limit)


def replay(
    session: Session,
    sensor: Annotated[str, typer.Argument(metavar="SENSOR", help="The sensor's name, or /hooks/PATH.")],
    ids: Annotated[list[int] | None, typer.Option("--id", metavar="N", min=1, help="This delivery.")] = None,
    since: Annotated[str | None, typer.Option(metavar="T", help=f"Received since: {When}.")] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help=f"Received before: {When}.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that are kept.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would ask for, and change nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="What ran because of them may run once more.")] = False,
) -> int:
    """Let kept deliveries be looked at once more.

    Give --id, or --since and --until, or --all. Without --again nothing that ran runs twice.
    """
    from freshet.cli.commands import inbox as body

    which = body.Which(tuple(ids or ()), since, until, every)
    return body.replay(session, sensor, which, dry_run=dry_run, again=again)


def add_commands(command: Callable[[], Callable[[Callable[..., int | None]], Any]]) -> None:
    """Register them. `command`: the decorator of the application."""
    for body in (inbox, replay):
        command()(body)
