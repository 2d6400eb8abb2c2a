"""What arrives while a simulation runs: a listing of files, and what the sensors that watch them would say.

A listing is a text file, one arrival a line: a time and a path, `2026-03-01T02:30 inbox/a.csv`. What follows a `#` at
the start of a line is a comment. Relative paths begin at `root`, as in plugins. Sensors are asked where plugins are
loaded, in a process of their own: those that have a method `arrival(path, at)`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from freshet.engine.simulation.moments import moment_of
from freshet.errors import FreshetError, HostError
from freshet.executors.base import RequestedRun
from freshet.executors.evaluator_outcomes import OutcomeParts
from freshet.executors.hostsettings import HostSettings
from freshet.store.records import PartitionDelta, ReportedMaterialization

__all__ = ["Arrival", "Asked", "Listed", "ListingError", "Refused", "ask_sensors", "read_listing"]

_PATIENCE = 60.0
"""Seconds for all arrivals to be judged, once the plugins are loaded."""


class ListingError(FreshetError):
    """A listing that cannot be read."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of a listing. `at`: seconds since 1970."""

    line: int
    at: float
    path: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a sensor says of a file that has arrived."""

    line: int
    at: float
    path: str
    sensor: str
    partitions: tuple[PartitionDelta, ...] = ()
    runs: tuple[RequestedRun, ...] = ()
    reports: tuple[ReportedMaterialization, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that a sensor watches and does not take, and why."""

    line: int
    path: str
    sensor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """`sensors`: those that judge arrivals. `unwatched`: the lines that none of them has anything to say of."""

    sensors: tuple[str, ...]
    arrivals: tuple[Arrival, ...]
    refused: tuple[Refused, ...]
    unwatched: tuple[Listed, ...]


def read_listing(path: Path, zone: str) -> list[Listed]:
    """The arrivals of a listing, in order of time. Raises `ListingError` naming the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ListingError(f"{path}: no UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None
    except OSError as error:
        raise ListingError(f"{path} cannot be read: {error.strerror}", hint="name a text file of arrivals") from None
    found = [_listed(line, f"{path}:{number}", number, zone) for number, line in enumerate(text.splitlines(), 1)]
    return sorted((one for one in found if one is not None), key=lambda one: one.at)


def _listed(line: str, place: str, number: int, zone: str) -> Listed | None:
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    when, _, path = text.partition(" ")
    at = moment_of(when, zone, what=place)
    if not path.strip():
        raise ListingError(f"{place}: a time without a path", hint="write 2026-03-01T02:30 inbox/a.csv")
    return Listed(number, at, path.strip())


def ask_sensors(listed: Sequence[Listed], hosting: HostSettings) -> Asked:
    """Load the plugins in a process of their own and let the sensors judge. Raises `HostError`."""
    told = [hosting.tables(), *([one.line, one.path, one.at] for one in listed)]
    lines = b"".join(orjson.dumps(one) + b"\n" for one in told)
    command = [hosting.python, "-P", "-m", "freshet.host.arrivals", str(hosting.plugins_dir), str(os.getpid())]
    try:
        done = subprocess.run(
            command,
            input=lines,
            capture_output=True,
            cwd=hosting.root,
            timeout=hosting.start_timeout + _PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"the sensors did not judge the arrivals within {error.timeout:g} s",
            hint="arrival(path, at) of a sensor must be quick, and must not wait for anything",
        ) from None
    except OSError as error:
        raise HostError(f"the plugins' process cannot be started: {error}", hint="see the setting `root`") from error
    if done.returncode != 0:
        last = done.stderr.decode(errors="backslashreplace").strip()[-2000:]
        raise HostError(f"the process that asks the sensors ended with {done.returncode}\n{last}")
    return _asked(listed, map(orjson.loads, done.stdout.splitlines()))


def _asked(listed: Sequence[Listed], answers: Iterable[dict[str, Any]]) -> Asked:
    by_line = {one.line: one for one in listed}
    sensors: tuple[str, ...] = ()
    arrivals, refused = list[Arrival](), list[Refused]()
    for answer in answers:
        if "sensors" in answer:
            sensors = tuple(answer["sensors"])
            continue
        one, sensor = by_line[answer["line"]], answer["sensor"]
        if "problem" in answer:
            refused.append(Refused(one.line, one.path, sensor, answer["problem"]))
        else:
            arrivals.append(_arrival(one, sensor, answer["body"]))
    spoken = {one.line for one in arrivals} | {one.line for one in refused}
    unwatched = tuple(one for one in listed if one.line not in spoken)
    return Asked(sensors, tuple(arrivals), tuple(refused), unwatched)


def _arrival(listed: Listed, sensor: str, body: dict[str, Any]) -> Arrival:
    parts = OutcomeParts()
    parts.add(body)
    end = parts.end(0, sensor, "ok")
    return Arrival(listed.line, listed.at, listed.path, sensor, end.partitions, end.runs, end.reports)
