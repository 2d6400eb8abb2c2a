"""The commands about backfills and their options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from freshet.cli.session import Session
from freshet.definitions.names import PRIORITY_MAX

__all__ = ["add_commands"]

Wait = Annotated[
    bool | None,
    typer.Option("--wait/--no-wait", help="Show progress until the end [on a terminal]; exit 1 if it failed."),
]


def backfill(
    session: Session,
    assets: Annotated[list[str], typer.Argument(metavar="ASSET...", help="The assets to make.")],
    partitions: Annotated[
        str | None,
        typer.Option(metavar="A..B|K1,K2", help="From A to B, or these keys; by dimension: day=A..B|region=eu"),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All partitions.")] = False,
    missing: Annotated[bool, typer.Option("--missing", help="Those that were never made.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Those whose last run failed.")] = False,
    downstream: Annotated[bool, typer.Option("--downstream", help="And all that lies below.")] = False,
    upstream: Annotated[bool, typer.Option("--upstream", help="And all that lies above.")] = False,
    single_run: Annotated[bool, typer.Option("--single-run", help="In one run of up to 1,000 steps.")] = False,
    priority: Annotated[int, typer.Option(min=-PRIORITY_MAX, max=PRIORITY_MAX, help="Higher runs earlier.")] = 0,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="K=V", help="A tag for its runs.")] = None,
    wait: Wait = None,
) -> int:
    """Make many partitions, a few runs at a time.

    Give one of --partitions, --all, --missing and --failed.
    """
    from freshet.cli.commands import backfill as body

    wishes = body.Wishes(partitions, every, missing, failed, downstream, upstream, single_run, priority, tag or [])
    return body.begin(session, assets, wishes, wait=wait)


def backfills(
    session: Session,
    backfill_id: Annotated[int | None, typer.Argument(metavar="ID", min=1, help="Only this one.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until its end; exit 1 if it failed.")] = False,
) -> int:
    """Show backfills and how far they are."""
    from freshet.cli.commands import backfill as body

    return body.show(session, backfill_id, limit, wait=wait)


def retry(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="RUN|backfill:ID", help="A run or a backfill that has ended.")],
    whole: Annotated[
        bool, typer.Option("--all/--from-failure", help="All steps of the run, or those that did not succeed.")
    ] = False,
    wait: Wait = None,
) -> int:
    """Make what a run or a backfill left unmade.

    That is what failed or was canceled, and what lay below it, in a run of its own without a run key. What succeeded
    is kept, unless --all is given.
    """
    from freshet.cli.commands import act

    return act.retry(session, name, whole=whole, wait=wait)


def add_commands(command: Callable[[str], Callable[[Callable[..., int]], Any]]) -> None:
    """Make them known."""
    for name, body in (("backfill", backfill), ("backfills", backfills), ("retry", retry)):
        command(name)(body)
