"""The rules of time zones change while the daemon runs: an update of the system's time zone data is noticed within the
hour, and everything that waits for a local time waits for the right instant from then on.
"""

from __future__ import annotations

import importlib.util
import zoneinfo
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import TimePartitions
from freshet.definitions.windows import forget_rules
from freshet.engine.instruments import Instruments

__all__ = ["ZoneWatch", "rules_identity", "zones_of"]

_EVERY = 3600.0
_VERSIONS = ("tzdata.zi", "+VERSION")

_log = structlog.get_logger("freshet.zones")

Identity = tuple[tuple[str, int, int, int], ...]


def zones_of(definitions: Definitions) -> frozenset[str]:
    """The zones that schedules and partition sets name."""
    named = [one.timezone for one in definitions.schedules]
    named += [one.timezone for one in definitions.partition_set.values() if isinstance(one, TimePartitions)]
    return frozenset(zone for zone in named if zone is not None)


def rules_identity(zones: Iterable[str]) -> Identity:
    """What tells one release of the rules from another: path, inode, time and size of the files that say which
    release it is, and of those of these zones. (`zoneinfo` looks into its path first, then into the tzdata package.)"""
    folders = [Path(folder) for folder in zoneinfo.TZPATH]
    package = importlib.util.find_spec("tzdata")
    if package is not None and package.origin is not None:
        origin = Path(package.origin)
        folders.append(origin.parent / "zoneinfo")
    names = (*_VERSIONS, *sorted(zones))
    return tuple(known for folder in folders for name in names if (known := _identity(folder / name)) is not None)


def _identity(path: Path) -> tuple[str, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return str(path), found.st_ino, found.st_mtime_ns, found.st_size


class ZoneWatch:
    """Looks once an hour; costs nothing in between. `changing` is called before the old rules are forgotten, and
    returns what is called afterwards."""

    def __init__(self, instruments: Instruments, changing: Callable[[], Callable[[], None]]) -> None:
        self._in = instruments
        self._changing = changing
        self._known: Identity = ()

    def start(self) -> None:
        """Take the rules as they are, and look again in an hour; never in a time that is not the world's."""
        if self._in.clock.steady:
            return
        self._known = self._identity()
        self._in.heap.after("zones", _EVERY, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._in.heap.cancel("zones")

    def _identity(self) -> Identity:
        return rules_identity(zones_of(self._in.in_force.definitions))

    def _look(self) -> None:
        self._in.heap.after("zones", _EVERY, self._look)
        found = self._identity()
        if found == self._known:
            return
        changed = sorted({path for path, *_ in set(found) ^ set(self._known)})
        self._known = found
        changed_now = self._changing()
        forget_rules()
        changed_now()
        _log.info("the rules of time zones have changed", files=changed[:8])
