"""The commands about checks, and their options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from freshet.cli.session import Session

__all__ = ["add_commands"]


def verify(
    session: Session,
    asset: Annotated[str, typer.Argument(metavar="ASSET", help="What is to be checked.")],
    partition: Annotated[
        str | None, typer.Option("--partition", "-p", metavar="KEY", help="Which partition; without, all together.")
    ] = None,
    check: Annotated[
        list[str] | None, typer.Option("--check", metavar="NAME", help="Only this one; repeatable.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch it until it ends.")] = False,
) -> int:
    """Run the checks of an asset on what is there."""
    from freshet.cli.commands import checks

    return checks.verify(session, asset, partition, check or [], wait=wait)


def import_checks(
    session: Session,
    kind: Annotated[Literal["dbt", "junit"], typer.Argument(metavar="dbt|junit", help="Whose report.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="run_results.json, or a JUnit XML report.")],
    asset: Annotated[str | None, typer.Option("--asset", metavar="NAME", help="Of which asset all of it is.")] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", "-p", metavar="KEY", help="Of which partition.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", metavar="FILE", help="dbt's, if not beside the results.")
    ] = None,
) -> int:
    """Keep the results of checks that ran elsewhere.

    Without --asset, each is of the asset that is called as dbt's model, or as the class or suite of the test case.
    """
    from freshet.cli.commands import checks

    return checks.import_checks(session, kind, file, asset, partition, manifest)


def add_commands(command: Callable[..., Callable[[Callable[..., int | None]], Any]]) -> None:
    """Register them. `command`: the decorator of the application."""
    command("verify")(verify)
    command("import-checks")(import_checks)
