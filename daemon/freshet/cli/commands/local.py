"""The commands that need no daemon: run, check."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from freshet.cli.session import Session, print_json
from freshet.cli.text import place, plain
from freshet.configfile import find_config
from freshet.errors import FreshetError

if TYPE_CHECKING:
    from freshet.configuration import Settings
    from freshet.executors.base import Answers, LoadProblem, LoadReport

__all__ = ["check", "load_plugins", "print_problems", "run"]


def run(session: Session) -> int:
    """Run the daemon; returns its exit status."""
    from freshet.configuration import load_settings
    from freshet.pluginconfig import read_tables

    config = find_config(session.config)
    settings = load_settings(config)
    from freshet.engine.daemon import run_daemon

    path = None if config is None else config.absolute()
    return run_daemon(settings, partial(load_settings, path), partial(read_tables, path))


def check(session: Session) -> int:
    """Load everything and start nothing: 1 if something is wrong.

    It takes no lock and a state directory of its own, so that it works beside a running daemon.
    """
    from freshet.configuration import check_folders, load_settings
    from freshet.engine.limits import within_limits
    from freshet.engine.warnings import with_warnings

    settings = load_settings(session.config)
    check_folders(settings)
    with tempfile.TemporaryDirectory(prefix="freshet-check-") as scratch:
        loaded = asyncio.run(load_plugins(settings, Path(scratch), find_config(session.config)))
    loaded = within_limits(loaded, settings.run_limits)
    report = with_warnings(loaded, loaded.definitions.resolved(settings.timezone), time.time())
    if session.json:
        print_json(_as_json(report))
    else:
        _print(report)
        if not report.problems and _runs_others(session, report.definitions.version):
            print("the daemon runs the plugins as they were: freshet reload")  # noqa: T201
    return 1 if report.problems else 0


def _runs_others(session: Session, version: str) -> bool:
    """Whether a daemon runs here, with other plugins than these."""
    try:
        with session.client() as client:
            return client.status().definitions_version not in ("", version)
    except FreshetError:
        return False


async def load_plugins(settings: Settings, scratch: Path, config: Path | None = None) -> LoadReport:
    """What a real code host says of the plugins; `scratch`: a state directory for it; `config`: the file that the
    settings are from."""
    from freshet.executors.codehost import ProcessCodeHost
    from freshet.executors.hostsettings import HostSettings
    from freshet.pluginconfig import tables_of

    host = ProcessCodeHost(
        HostSettings(settings.plugins_dir, settings.root, scratch, tables=lambda: tables_of(settings, config)),
        cast("Answers", _NobodyAsks()),
    )
    try:
        return await host.start()
    finally:
        await host.close(grace=0.5)


class _NobodyAsks:
    """A host that is only started asks for nothing; it can only be lost, after its report."""

    def host_lost(self, reason: str) -> None:
        pass


def print_problems(report: LoadReport) -> None:
    """Problems and warnings, on stderr."""
    for problem in report.problems:
        print(_line(problem, "error"), file=sys.stderr)  # noqa: T201
    for warning in report.warnings:
        print(_line(warning, "warning"), file=sys.stderr)  # noqa: T201


def _print(report: LoadReport) -> None:
    print_problems(report)
    found = report.definitions
    counts = (
        ("asset", len(found.assets)),
        ("job", len(found.jobs)),
        ("sensor", len(found.sensors)),
        ("schedule", len(found.schedules)),
        ("partition set", len(found.partition_set)),
    )
    said = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts)
    wrong = len(report.problems)
    verdict = "ok" if not wrong else f"{wrong} problem{'' if wrong == 1 else 's'}"
    print(f"{verdict}: {said}")  # noqa: T201


def _line(problem: LoadProblem, kind: str) -> str:
    hint = f"\nhint: {problem.hint}" if problem.hint else ""
    return plain(f"{place(problem.file, problem.line)}{kind}: {problem.message}{hint}")


def _as_json(report: LoadReport) -> dict[str, object]:
    def shown(problem: LoadProblem) -> dict[str, object]:
        return {
            "message": problem.message,
            "hint": problem.hint,
            "file": problem.file,
            "line": problem.line,
            "traceback": problem.traceback,
        }

    found = report.definitions
    return {
        "ok": not report.problems,
        "problems": [shown(one) for one in report.problems],
        "warnings": [shown(one) for one in report.warnings],
        "assets": [one.name for one in found.assets],
        "jobs": [one.name for one in found.jobs],
        "sensors": [one.name for one in found.sensors],
        "schedules": [one.name for one in found.schedules],
        "partitions": sorted(found.partition_set),
        "start_method": report.start_method,
    }
