"""The commands and their options. Each imports its body when it is called."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import freshet
from freshet.cli import (
    backfilling,
    caching,
    checking,
    creating,
    explaining,
    inboxing,
    keeping,
    partitioning,
    plugging,
    queueing,
    serving,
    showing,
)
from freshet.cli.session import (
    ConfigOption,
    JsonOption,
    Session,
    UrlOption,
    UsageError,
    global_options,
    print_error,
    with_session,
)
from freshet.definitions.names import PRIORITY_MAX
from freshet.errors import FreshetError

__all__ = ["app", "run"]


def _print_version(asked: bool) -> None:
    if asked:
        print(freshet.__version__)  # noqa: T201
        raise typer.Exit


def main_options(
    ctx: typer.Context,
    config: ConfigOption = None,
    json: JsonOption = False,
    url: UrlOption = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the release and exit.")
    ] = False,
) -> None:
    """Freshet keeps data assets fresh."""
    global_options(ctx, config, json, url)


app = typer.Typer(
    name="freshet", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, callback=main_options
)
cursor_app = typer.Typer(
    name="cursor", help="Show or replace what a sensor remembers.", rich_markup_mode=None, callback=global_options
)

_FAILED, _USAGE = 1, 2


def run(argv: list[str]) -> int:
    """Run one command line and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    as_json = "--json" in argv
    try:
        status = app(argv or ["--help"], prog_name="freshet", standalone_mode=False)
    except FreshetError as error:
        print_error(error, as_json=as_json)
        return _USAGE if isinstance(error, UsageError) else _FAILED
    except typer.TyperException as error:
        print_error(UsageError(error.format_message(), hint="freshet COMMAND --help says how"), as_json=as_json)
        return _USAGE
    except (typer.Abort, KeyboardInterrupt):
        return 130
    return status if isinstance(status, int) else 0


def _command(name: str | None = None, of: typer.Typer = app) -> Callable[[Callable[..., int | None]], Any]:
    def register(body: Callable[..., int | None]) -> Any:
        of.command(name)(with_session(body))
        return body

    return register


Sensor = Annotated[str, typer.Argument(metavar="SENSOR", help="The sensor's name.")]
Ticker = Annotated[str, typer.Argument(metavar="NAME", help="A sensor or a schedule by its name, or backfill:ID.")]
RunOrBackfill = Annotated[str, typer.Argument(metavar="RUN|backfill:ID", help="A run's number, or a backfill.")]
RunId = Annotated[int, typer.Argument(metavar="RUN", min=1, help="The run's number.")]
Wait = Annotated[bool, typer.Option("--wait", help="Show steps and progress until the end; exit 1 if it failed.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")]
Priority = Annotated[int, typer.Option(min=-PRIORITY_MAX, max=PRIORITY_MAX, help="Higher runs earlier.")]


@_command("run")
def run_(session: Session) -> int:
    """Run the daemon in the foreground.

    It ends at SIGTERM or Ctrl-C, giving what runs `shutdown_grace`; at once when asked a second time.
    """
    from freshet.cli.commands import local

    return local.run(session)


@_command()
def status(session: Session) -> None:
    """Show the daemon at a glance.

    What runs, what waits, what is wrong.
    """
    from freshet.cli.commands import show

    show.status(session)


@_command()
def assets(
    session: Session, name: Annotated[str | None, typer.Argument(metavar="ASSET", help="Only this one.")] = None
) -> None:
    """Show assets and their freshness."""
    from freshet.cli.commands import show

    show.assets(session, name)


@_command()
def sensors(
    session: Session, name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this one.")] = None
) -> None:
    """Show sensors and schedules: how and when they look."""
    from freshet.cli.commands import show

    show.sensors(session, name)


@_command()
def schedules(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="SCHEDULE", help="What became of its instants.")] = None,
) -> None:
    """Show schedules and when they come next."""
    from freshet.cli.commands import show

    show.schedules(session, name)


@_command()
def runs(
    session: Session,
    run_id: Annotated[int | None, typer.Argument(metavar="RUN", min=1, help="Only this one, with its steps.")] = None,
    state: Annotated[
        Literal["queued", "started", "succeeded", "failed", "canceling", "canceled", "interrupted"] | None,
        typer.Option(help="Only runs in this state."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only runs with this asset or job in them.")
    ] = None,
    limit: Limit = 20,
) -> None:
    """Show runs, or one run with its steps."""
    from freshet.cli.commands import show

    show.runs(session, run_id, state, target, limit)


@_command()
def logs(
    session: Session,
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", "-n", min=0, help="Only the last so many lines.")] = None,
) -> int:
    """Show what the steps of a run wrote.

    Output, log lines, progress and states, from the journal of the run.
    """
    from freshet.cli.commands import journal

    return journal.logs(session, run_id, follow=follow, tail=tail)


@_command()
def materialize(
    session: Session,
    assets: Annotated[list[str], typer.Argument(metavar="ASSET...", help="The assets to make.")],
    partition: Annotated[
        str | None, typer.Option("--partition", "-p", metavar="KEY", help="Of this partition.")
    ] = None,
    upstream: Annotated[bool, typer.Option("--upstream", help="And all that lies above.")] = False,
    downstream: Annotated[bool, typer.Option("--downstream", help="And all that lies below.")] = False,
    priority: Priority = 0,
    wait: Wait = False,
) -> int:
    """Make assets now."""
    from freshet.cli.commands import act

    return act.materialize(session, assets, partition, upstream, downstream, priority, wait=wait)


@_command()
def report(
    session: Session,
    asset: Annotated[str, typer.Argument(metavar="ASSET", help="What was made.")],
    partition: Annotated[
        str | None, typer.Option("--partition", "-p", metavar="KEY", help="Of this partition.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="K=V", help="Kept with it; V is JSON, or else text.")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="T", help="When: a local time; else now.")] = None,
    data_version: Annotated[
        str | None, typer.Option("--data-version", metavar="TEXT", help="Of its data: an ETag, a commit.")
    ] = None,
) -> None:
    """Say that an asset was made elsewhere.

    What lies below and its freshness take it for a materialization. With --at it counts only if that is later than
    what is known.
    """
    from freshet.cli.commands import report as reporting

    reporting.report(session, asset, partition, metadata or [], at, data_version)


@_command()
def call(
    session: Session,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's name.")],
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="K=V", help="A parameter; V is JSON, or else text.")
    ] = None,
    priority: Priority = 0,
    wait: Wait = False,
) -> int:
    """Call a job."""
    from freshet.cli.commands import act

    return act.call(session, job, param or [], priority, wait=wait)


@_command()
def cancel(session: Session, name: RunOrBackfill) -> None:
    """End a run or a backfill, with all its processes."""
    from freshet.cli.commands import act

    act.cancel(session, name)


@_command()
def tick(
    session: Session,
    sensor: Sensor,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and keep nothing.")] = False,
    cursor: Annotated[
        str | None, typer.Option(metavar="JSON", help="Look from this cursor (with --dry-run only).")
    ] = None,
) -> int:
    """Let a sensor look now, and say what came of it."""
    from freshet.cli.commands import act

    return act.tick(session, sensor, dry_run=dry_run, cursor=cursor)


@_command()
def pause(session: Session, name: Ticker) -> None:
    """Stop a sensor or a schedule until it is resumed.

    A sensor's cursor stays; what passes of a schedule meanwhile is decided by its misfire policy.
    """
    from freshet.cli.commands import act

    act.pause(session, name)


@_command()
def resume(session: Session, name: Ticker) -> None:
    """Let a sensor look, or a schedule fire, again.

    Ends a pause, a quarantine and a back-off.
    """
    from freshet.cli.commands import act

    act.resume(session, name)


@_command("get", of=cursor_app)
def cursor_get(session: Session, sensor: Sensor) -> None:
    """Print a sensor's cursor as JSON."""
    from freshet.cli.commands import cursor

    cursor.get(session, sensor)


@_command("set", of=cursor_app)
def cursor_set(
    session: Session, sensor: Sensor, value: Annotated[str, typer.Argument(metavar="JSON", help="The new cursor.")]
) -> None:
    """Replace a sensor's cursor.

    A tick in flight will be refused.
    """
    from freshet.cli.commands import cursor

    cursor.set(session, sensor, value)


@_command("history", of=cursor_app)
def cursor_history(session: Session, sensor: Sensor, limit: Limit = 20) -> None:
    """Show a sensor's last ticks.

    Those that had an effect or failed, newest first.
    """
    from freshet.cli.commands import cursor

    cursor.history(session, sensor, limit)


@_command("rollback", of=cursor_app)
def cursor_rollback(
    session: Session,
    sensor: Sensor,
    to: Annotated[int, typer.Option("--to", metavar="TICK", min=1, help="As it was at the end of this tick.")],
    again: Annotated[
        bool, typer.Option("--again", help="What ran since may run once more: free its run keys.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and change nothing.")] = False,
) -> None:
    """Set a sensor's cursor and ledger back to an earlier tick.

    What came since is seen again; what ran since with a run key does not run twice, unless --again is given. Look with
    --dry-run first. It is a tick of its own in the history, and can be rolled back.
    """
    from freshet.cli.commands import cursor

    cursor.rollback(session, sensor, to, again=again, dry_run=dry_run)


@_command()
def simulate(
    session: Session,
    begin: Annotated[str, typer.Option("--from", metavar="T", help="When it begins: a local time, or now.")] = "now",
    until: Annotated[
        str, typer.Option(metavar="T", help="When it ends: a local time, or a duration (days on the clock).")
    ] = "30d",
    files: Annotated[
        Path | None, typer.Option(metavar="LISTING", help="What arrives: lines such as 2026-03-01T02:30 inbox/a.csv")
    ] = None,
    state: Annotated[bool, typer.Option("--state", help="Begin with a copy of the present state.")] = False,
    duration: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=T", help="How long an asset or job takes [as recorded, or else 1s]."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Print what is about this alone; about a schedule or sensor are its runs too."
        ),
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, metavar="X", help="X times as fast as real time [as fast as it goes].")
    ] = None,
) -> int:
    """Show what would tick, run and lapse when.

    The engine in virtual time, with your plugins and none of their code: steps last as long as they did, and
    succeed. It begins with nothing, so that it comes out the same everywhere, unless --state is given.
    """
    from freshet.cli.commands import simulate as body

    wishes = body.Wishes(begin, until, files, state, tuple(duration or ()), tuple(only or ()), speed)
    return body.simulate(session, wishes)


for part in (backfilling, checking, explaining, inboxing, keeping, partitioning, plugging, queueing, showing):
    part.add_commands(_command)
for group in (caching, creating, serving):
    group.add_commands(_command, app)
app.add_typer(cursor_app)
