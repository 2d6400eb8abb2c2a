"""simulate: what would tick, run and lapse when. It needs no daemon, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from freshet.cli.session import Session, UsageError
from freshet.configfile import find_config
from freshet.errors import Conflict, DurationError, StoreError

if TYPE_CHECKING:
    from freshet.cli.simulated import Printer
    from freshet.configuration import Settings
    from freshet.definitions.graph import Definitions
    from freshet.engine.simulation.arrivals import Arrival
    from freshet.executors.base import LoadReport

__all__ = ["Wishes", "simulate"]

_GARBAGE_AFTER = 100_000
"""Objects between two looks for garbage: next to nothing of a simulation is a cycle."""


@dataclass(frozen=True)
class Wishes:
    """The command's options, as they were written. See `freshet simulate --help`."""

    begin: str
    until: str
    files: Path | None
    state: bool
    durations: tuple[str, ...]
    only: tuple[str, ...]
    speed: float | None


def simulate(session: Session, wishes: Wishes) -> int:
    """Run the engine in virtual time and print what it does; 130 after Ctrl-C, with the summary so far."""
    from freshet.cli.commands.local import load_plugins, print_problems
    from freshet.configuration import check_folders, load_settings

    settings = load_settings(session.config)
    check_folders(settings)
    begin, end = _span(wishes, settings.timezone)
    with _log_on_stderr(), tempfile.TemporaryDirectory(prefix="freshet-simulate-") as scratch:
        report = asyncio.run(load_plugins(settings, Path(scratch), find_config(session.config)))
        if report.problems:
            print_problems(report)
            return 1
        try:
            return _simulate(session, wishes, settings, report, begin, end, Path(scratch, "freshet.db"))
        except BrokenPipeError:  # the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


def _simulate(
    session: Session,
    wishes: Wishes,
    settings: Settings,
    report: LoadReport,
    begin: float,
    end: float,
    database: Path,
) -> int:
    import anyio

    from freshet.cli.simulated import Printer
    from freshet.engine.engine import EngineOptions
    from freshet.engine.simulation.simulation import Plan
    from freshet.engine.simulation.simulation import simulate as run

    names = _names(report.definitions)
    _check_known(wishes.only, {name for kind in names.values() for name in kind}, "--only")
    printer = Printer(settings.timezone, as_json=session.json, flush=wishes.speed is not None)
    given = _durations(wishes.durations, names["asset"] | names["job"])
    recorded = _recorded(settings)
    if wishes.state:
        begin = _copied(settings, database, begin, now=wishes.begin.strip() == "now")
    _notes(printer, report.definitions, listed=wishes.files is not None)
    plan = Plan(
        begin=begin,
        end=end,
        database=database,
        options=EngineOptions(
            workers=settings.process.workers,
            lanes=settings.lanes,
            timezone=settings.timezone,
            limits=settings.run_limits,
        ),
        durations={**recorded, **given},
        arrivals=_arrivals(session, wishes.files, settings, report.definitions, printer, begin, end),
        speed=wishes.speed,
        only=frozenset(wishes.only),
    )
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True

    async def main() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
        printer.summary(await run(plan, report, printer.entry, stop=lambda: interrupted), begin)

    with _little_garbage():
        anyio.run(main, backend_options={"use_uvloop": sys.platform != "win32"})
    sys.stdout.flush()
    return 130 if interrupted else 0


@contextmanager
def _log_on_stderr() -> Generator[None]:
    """What plugins print while they load is no part of the answer."""
    import structlog

    before = structlog.get_config()["logger_factory"]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    try:
        yield
    finally:
        structlog.configure(logger_factory=before)


@contextmanager
def _little_garbage() -> Generator[None]:
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_GARBAGE_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


# --- options -------------------------------------------------------------------------------------------------


def _span(wishes: Wishes, zone: str) -> tuple[float, float]:
    from freshet.engine.simulation.moments import WrongMoment, moment_of, until_of

    try:
        now = wishes.begin.strip() == "now"
        begin = float(int(time.time())) if now else moment_of(wishes.begin, zone, what="--from")
        end = until_of(wishes.until, begin, zone, what="--until")
    except WrongMoment as error:
        raise UsageError(error.message, hint=error.hint) from None
    if end <= begin:
        raise UsageError(
            f"--until {wishes.until} is not after --from {wishes.begin}", hint="give a later time, or a duration"
        )
    return begin, end


def _names(definitions: Definitions) -> dict[str, set[str]]:
    return {
        "asset": set(definitions.asset),
        "job": set(definitions.job),
        "sensor": set(definitions.sensor),
        "schedule": set(definitions.schedule),
        "set": set(definitions.partition_set),
    }


def _check_known(given: Iterable[str], known: set[str], option: str) -> None:
    from freshet.definitions.names import nearest_hint

    for name in given:
        if name not in known:
            raise UsageError(f"{option}: there is nothing called {name!r}", hint=nearest_hint(name, known))


def _durations(given: Iterable[str], known: set[str]) -> dict[str, float]:
    from freshet.definitions.durations import parse_duration

    found: dict[str, float] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals:
            raise UsageError(f"--duration {one!r} is not NAME=DURATION", hint="for example --duration sales=30s")
        _check_known([name], known, "--duration")
        try:
            found[name] = parse_duration(text, what=f"--duration {name}")
        except DurationError as error:
            raise UsageError(error.message, hint=error.hint) from None
    return found


# --- what is known -------------------------------------------------------------------------------------------


def _recorded(settings: Settings) -> dict[str, float]:
    """How long steps took, as far as anything is remembered."""
    from freshet.store.copying import read_only, step_durations

    database = _database(settings)
    if not database.exists():
        return {}
    with read_only(database) as db:
        return step_durations(db)


def _copied(settings: Settings, copy: Path, begin: float, *, now: bool) -> float:
    """Copy the state; returns when the simulation begins: not before its last event, which a daemon that is at work
    may have added after `now`."""
    from freshet.store.copying import copy_database, last_moment, read_only

    database = _database(settings)
    if not database.exists():
        raise StoreError(f"there is no state at {database}", hint="leave --state out to begin with nothing")
    copy_database(database, copy)
    with read_only(copy) as db:
        last = last_moment(db)
    if last is None or last <= begin:
        return begin
    if not now:
        raise Conflict("the state holds events that are later than --from", hint="begin now, or leave --state out")
    return float(math.ceil(last))


def _database(settings: Settings) -> Path:
    from freshet.store.statedir import DATABASE_NAME

    return settings.state_dir / DATABASE_NAME


def _arrivals(
    session: Session,
    files: Path | None,
    settings: Settings,
    definitions: Definitions,
    printer: Printer,
    begin: float,
    end: float,
) -> list[Arrival]:
    """What the sensors see of the listing, each when the file has settled."""
    if files is None:
        return []
    from freshet.engine.simulation.arrivals import ask_sensors, read_listing
    from freshet.executors.hostsettings import HostSettings
    from freshet.pluginconfig import tables_of

    listed = read_listing(files, settings.timezone)
    asked = ask_sensors(
        listed,
        HostSettings(
            settings.plugins_dir,
            settings.root,
            settings.state_dir,
            tables=lambda: tables_of(settings, find_config(session.config)),
        ),
    )
    takers = ", ".join(asked.sensors)
    printer.note(f"sensors that take arrivals: {takers}" if takers else "no sensor takes arrivals")
    for one in asked.unwatched:
        printer.note(f"{files}:{one.line}: nobody watches {one.path}")
    for refused in asked.refused:
        printer.note(f"{files}:{refused.line}: {refused.sensor} passes over {refused.path}: {refused.reason}")
    seen = [replace(one, at=one.at + _settle(definitions, one.sensor)) for one in asked.arrivals]
    within = [one for one in seen if begin <= one.at < end]
    if outside := len(seen) - len(within):
        said = "1 arrival is" if outside == 1 else f"{outside} arrivals are"
        printer.note(f"{said} before --from or after --until")
    return within


def _settle(definitions: Definitions, sensor: str) -> float:
    """Seconds until a sensor takes what has arrived: its option `settle`, where it has one."""
    spec = definitions.sensor.get(sensor)
    settle = None if spec is None else spec.options.get("settle")
    return float(settle) if isinstance(settle, int | float) else 0.0


def _notes(printer: Printer, definitions: Definitions, *, listed: bool) -> None:
    """What is not simulated, once."""
    if definitions.sensors and not listed:
        names = ", ".join(sorted(definitions.sensor))
        printer.note(f"sensors are user code and are not run: {names}; --files LISTING says what arrives")
    if bodies := sorted(one.name for one in definitions.schedules if one.body):
        printer.note(f"bodies of schedules are user code and are not run: {', '.join(bodies)}")
