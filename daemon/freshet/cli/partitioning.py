"""The command about partitions and its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from freshet.cli.session import Session

__all__ = ["add_commands"]


def partitions(
    session: Session,
    set: Annotated[str | None, typer.Argument(metavar="SET", help="A partition set; without one, all sets.")] = None,
    action: Annotated[
        Literal["add", "delete"] | None, typer.Argument(metavar="add|delete", help="Change a dynamic set.")
    ] = None,
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY", help="The keys to add or delete.")] = None,
    metadata: Annotated[str | None, typer.Option(metavar="JSON", help="An object to attach to the keys added.")] = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="FILE", help="Take the keys from a file (-: standard input).")
    ] = None,
    last: Annotated[int | None, typer.Option(min=1, max=1000, metavar="N", help="The last N.")] = None,
    state: Annotated[
        Literal["missing", "materialized", "failed", "in_progress", "warn", "lapsed", "held"] | None,
        typer.Option(
            help="Only those: how they are made, how fresh each is under a policy for each, or held back by checks."
        ),
    ] = None,
    asset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose state is meant [the one asset over the set].")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 100,
    after: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Go on after this partition.")] = 0,
) -> None:
    """Show or change partitions.

    All sets; or the keys of one set; or add keys to a dynamic set, or delete some:
    partitions SET add KEY...

    With --from, the file holds a key a line, or NDJSON: a text, or {"key": ..., "metadata": {...}}. A million are
    fine: all of them are added, or none.
    """
    from freshet.cli.commands import partitions as body

    wishes = body.Wishes(limit, after, last, state, asset)
    body.partitions(session, set, action, keys or [], metadata, source, wishes)


def add_commands(command: Callable[[], Callable[[Callable[..., int | None]], Any]]) -> None:
    """Add them with `command`, which makes a decorator."""
    command()(partitions)
