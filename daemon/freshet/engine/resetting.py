"""The settings are read again, with the plugins: what can change while the daemon runs does, and the rest is named.

Live are the slots and rates of pools, pools that come and go, the numbers of limits, the grace of shutdown and the
level of the log. A file with a mistake in it, or whose pools do not fit the plugins in force, changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import structlog

from freshet.configuration import Settings
from freshet.engine.limits import within_limits
from freshet.engine.logs import set_level
from freshet.engine.reread import Reread
from freshet.engine.swap import redefine_steps
from freshet.errors import SettingsError
from freshet.executors.base import LoadProblem

if TYPE_CHECKING:
    from freshet.engine.engine import Engine

__all__ = ["Rereader"]

_LIVE = ("pools", "limits.runs", "limits.tags", "log.level", "shutdown_grace")

_log = structlog.get_logger("freshet.settings")


class Rereader:
    """Of one engine. `read`: the settings as the file has them now; raises `SettingsError`."""

    def __init__(self, engine: Engine, settings: Settings, read: Callable[[], Settings]) -> None:
        self._engine = engine
        self._settings = settings
        self._read = read
        self._told: Reread | None = None

    async def reread(self) -> Reread:
        """Look at the file, and let hold what may."""
        try:
            found = await asyncio.to_thread(self._read)
        except SettingsError as error:
            return self._tell(Reread(problem=LoadProblem(error.message, error.hint)))
        report, limits = self._engine.load_report, found.run_limits
        if report is not None:
            misfits = within_limits(replace(report, problems=()), limits).problems
            if misfits:
                return self._tell(Reread(problem=misfits[0]))
        changed, waiting = _sorted_out(self._settings, found)
        self._hold(found, changed)
        live: dict[str, Any] = {"shutdown_grace": found.shutdown_grace, "pools": found.pools}
        if not any(one.startswith("limits.") for one in waiting):
            live["limits"] = found.limits
        live["log"] = self._settings.log.model_copy(update={"level": found.log.level})
        self._settings = self._settings.model_copy(update=live)
        return self._tell(Reread(changed, waiting))

    def _hold(self, found: Settings, changed: tuple[str, ...]) -> None:
        engine = self._engine
        if "log.level" in changed:
            set_level(found.log.level)
        engine.options = replace(engine.options, grace=found.shutdown_grace)
        if any(one.startswith(("pools", "limits")) for one in changed):
            limits = found.run_limits
            if "limits" not in {one.partition(".")[0] for one in changed}:
                limits = replace(limits, runs=engine.options.limits.runs, tags=engine.options.limits.tags)
            engine.options = replace(engine.options, limits=limits)
            engine.launcher.queue.resize(limits)
            redefine_steps(engine, engine.instruments.in_force.definitions, {})
            engine.launcher.dispatch()

    def _tell(self, done: Reread) -> Reread:
        if done.problem is not None:
            _log.error("the settings cannot be read again; those of before stay", problem=str(done.problem))
        if done.changed:
            _log.info("settings changed", changed=list(done.changed))
        if done.waiting and (self._told is None or self._told.waiting != done.waiting):
            _log.warning("settings that want a restart were changed", settings=list(done.waiting))
        self._told = done
        return done


def _sorted_out(before: Settings, after: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is different, by name: what may hold at once, and what wants a restart. What is said to plugins comes with
    them."""
    live, waiting = list[str](), list[str]()
    counts = (before.limits.runs is None) == (after.limits.runs is None)
    same_tags = before.limits.tags.keys() == after.limits.tags.keys()
    for name in _differences(before.model_dump(exclude={"plugins"}), after.model_dump(exclude={"plugins"})):
        whole = counts and same_tags if name.startswith("limits.") else True
        at_once = whole and any(name == one or name.startswith(f"{one}.") for one in _LIVE)
        (live if at_once else waiting).append(name)
    return tuple(live), tuple(waiting)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key in sorted(before.keys() | after.keys()):
        mine, other = before.get(key), after.get(key)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            sections = cast("tuple[Mapping[str, Any], Mapping[str, Any]]", (mine, other))
            yield from _differences(*sections, f"{path}{key}.")
        elif mine != other:
            yield f"{path}{key}"
