"""The daemon, if one runs, the plugins, and the unit that starts it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from freshet.cli.checkup.finding import Finding, bad, fine, warned
from freshet.cli.commands import local, service
from freshet.cli.session import Session
from freshet.cli.text import place
from freshet.configuration import Settings, check_folders
from freshet.errors import DaemonUnreachable, FreshetError
from freshet.executors.pluginfiles import read_plugins
from freshet.store.lock import FileLock

__all__ = ["plugins", "running", "unit"]


def running(session: Session, state_dir: Path) -> Iterator[Finding]:
    """What it says of itself."""
    try:
        with session.client() as client:
            status = client.status()
    except DaemonUnreachable as error:
        if _held(state_dir / "lock"):
            yield bad("daemon", f"one holds {state_dir}, but: {error.message}", error.hint or "its log says why")
        else:
            yield fine("daemon", "none runs")
        return
    except FreshetError as error:
        yield bad("daemon", error.message, error.hint or "its log says why")
        return
    if status.problem:
        remedy = "restart it" if status.needs_restart else "its log says more; it goes on by itself when that is over"
        yield bad("daemon", f"process {status.pid}: {status.problem}", remedy)
    else:
        yield fine("daemon", f"process {status.pid}, release {status.version}, {status.state}")


def _held(path: Path) -> bool:
    try:
        if not path.exists():
            return False
        with FileLock(path) as lock:
            return not lock.acquire(shared=True)
    except OSError:
        return False  # whose it is was said above


def plugins(settings: Settings) -> Iterator[Finding]:
    """Whether they load, and who may write them."""
    try:
        check_folders(settings)
        files = read_plugins(settings.plugins_dir)
        with tempfile.TemporaryDirectory(prefix="freshet-doctor-") as scratch:
            report = asyncio.run(local.load_plugins(settings, Path(scratch)))
    except FreshetError as error:
        yield bad("plugins", error.message, error.hint or "freshet check says more")
        return
    except OSError as error:
        yield bad("plugins", f"{settings.plugins_dir}: {error.strerror}", "let this user read them")
        return
    problems = [*files.problems, *report.problems]
    for one in problems:
        yield bad("plugins", place(one.file, one.line) + one.message, one.hint or "freshet check says more")
    for one in (*files.warnings, *report.warnings):
        yield warned("plugins", place(one.file, one.line) + one.message, one.hint or "freshet check says more")
    if not problems:
        found = report.definitions
        said = f"{len(found.assets)} assets, {len(found.sensors)} sensors, {len(found.schedules)} schedules"
        yield fine("plugins", f"{settings.plugins_dir}: {said}")


def unit(session: Session) -> Iterator[Finding]:
    """Whether the units are those of this configuration, where there are any."""
    try:
        found = service.standing(session, service.Where.of(None, None))
    except (FreshetError, OSError):
        return  # what no unit can say is said where one is to be written
    there = {name: how for name, how in found.items() if how != "absent"}
    if not there:
        yield fine("unit", "none is installed")
    for name, how in there.items():
        if how == "outdated":
            yield warned("unit", f"{name} is of an earlier configuration", "freshet service install")
        else:
            yield fine("unit", f"{name} is {how}")
