"""The command about what assets with `cache=` have made, and its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from freshet.cli.session import Session, global_options

__all__ = ["add_commands"]


def clear(
    session: Session,
    asset: Annotated[str, typer.Argument(metavar="NAME", help="The asset or job that is to make it anew.")],
    partition: Annotated[
        str | None, typer.Option("--partition", "-p", metavar="KEY", help="Only of this partition.")
    ] = None,
) -> None:
    """Forget what an asset with cache= has made, and an asset or job of the items of ctx.map(cache=): what comes next
    is made anew."""
    from freshet.cli.commands import act

    act.clear_cache(session, asset, partition)


def add_commands(command: Callable[..., Callable[[Callable[..., int | None]], Any]], app: typer.Typer) -> None:
    """Register them. `command`: the decorator of the application."""
    group = typer.Typer(name="cache", help="Forget what was made.", rich_markup_mode=None, callback=global_options)
    command("clear", of=group)(clear)
    app.add_typer(group)
