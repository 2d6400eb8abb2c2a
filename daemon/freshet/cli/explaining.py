"""The command that explains and its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from freshet.cli.session import Session

__all__ = ["add_commands"]


def why(
    session: Session,
    asset: Annotated[str, typer.Argument(metavar="ASSET", help="The asset's name.")],
    partition: Annotated[
        str | None, typer.Option("--partition", "-p", metavar="KEY", help="Which partition [the newest].")
    ] = None,
) -> None:
    """Show why an asset is made, or is not.

    Its condition as it stands, with the event behind each part; what it depends on; what it waits for, and until
    when; the run that was asked for last, and what holds that up.
    """
    from freshet.cli.commands import why as body

    body.why(session, asset, partition)


def add_commands(command: Callable[[], Callable[[Callable[..., int | None]], Any]]) -> None:
    """Add it with `command`, which makes a decorator."""
    command()(why)
