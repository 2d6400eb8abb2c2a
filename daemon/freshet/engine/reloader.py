"""The one door for other definitions: an edited folder, SIGHUP and `freshet reload` all ask here.

What is asked for while a load is under way is answered by one more, however often it was asked. The new host is loaded
and checked as a whole beside the old one; where anything is wrong, the definitions in force stay. A load that takes
long is given up when its files have been edited meanwhile: what made it hang may have been mended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import structlog

from freshet.engine.limits import within_limits
from freshet.engine.plugins import PluginView, standing
from freshet.engine.reread import Reread
from freshet.engine.swap import swap
from freshet.engine.warnings import with_warnings
from freshet.errors import Conflict, HostError, LoadError
from freshet.executors.base import CodeHost, LoadProblem, LoadReport
from freshet.executors.pluginfiles import PluginFiles

if TYPE_CHECKING:
    from freshet.engine.engine import Engine

__all__ = ["ReadPlugins", "Reloaded", "Reloader"]

_log = structlog.get_logger("freshet.plugins")

_LONG = 2.0
"""Seconds after which a load is given up for what has been edited meanwhile."""

Outcome = Literal["changed", "unchanged", "refused"]
ReadPlugins = Callable[[], PluginFiles]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came of a load. `version`: that is in force now. `problems`: why the plugins as they are now are not.
    `seconds`: from being asked; `settings`: what came of reading these again."""

    outcome: Outcome
    version: str
    problems: tuple[LoadProblem, ...] = ()
    seconds: float = 0.0
    settings: Reread = field(default_factory=Reread)


class _Edited(Exception):
    """What is being loaded is not what there is any more."""


class Reloader:
    """Of one engine. `read`: the files of the plugins as they are now; None where only a host can tell."""

    def __init__(self, engine: Engine, read: ReadPlugins | None = None) -> None:
        self._engine = engine
        self._read = read
        self._lock = asyncio.Lock()
        self._news = asyncio.Event()
        self._asked = self._answered = 0
        self._last: Reloaded | None = None
        self._held_back: list[Callable[[], None]] | None = None
        self._files, self._in_force = PluginFiles(""), dict[str, str]()
        self._quarantined: dict[str, tuple[str | None, LoadProblem]] = {}
        self.refused: tuple[LoadProblem, ...] = ()
        """Why the plugins as they are now are not in force; empty where they are."""
        self.plugins: dict[str, PluginView] = {}
        """By file."""

    async def begin(self, host: CodeHost) -> LoadReport:
        """The first load, at the start: nothing is in force yet. Raises `HostError`."""
        await self._look()
        report = self.checked(await host.start())
        self._loaded()
        return report

    def checked(self, report: LoadReport) -> LoadReport:
        """The report with all that `freshet check` would say; warnings are logged."""
        options = self._engine.options
        definitions = report.definitions.resolved(options.timezone)
        files, report = self._files, within_limits(report, options.limits)
        report = replace(
            report,
            problems=(*files.problems, *report.problems),
            warnings=(*files.warnings, *report.warnings),
        )
        found = with_warnings(report, definitions, self._engine.clock.now())
        known = set(self._engine.load_report.warnings if self._engine.load_report is not None else ())
        for one in found.warnings:
            if one not in known:
                _log.warning(one.message, file=one.file, line=one.line, hint=one.hint)
        return found

    def code_of(self, file: str) -> str | None:
        """The version of a plugin's file that is in force; None for one that is none."""
        return self._in_force.get(file)

    def held_back(self, heard: Callable[[], None]) -> bool:
        """Whether something that was heard waits until other definitions are in force; it is called then."""
        if self._held_back is not None:
            self._held_back.append(heard)
        return self._held_back is not None

    # --- the door -------------------------------------------------------------------------------------------

    async def reload(self) -> Reloaded:
        """Put the plugins in force as they are now, if they are others, and if all is well with them; what is in
        quarantine is tried again. Before that the settings are read again.

        Raises `Conflict` while the daemon starts or stops.
        """
        if self._engine.state != "ready":
            raise Conflict(f"the daemon is {self._engine.state}", hint="ask again once it is ready")
        self._quarantined.clear()
        reread = self._engine.reread
        settings = Reread() if reread is None else await reread()
        done = await self._engine.instruments.work.whole(self._in_turn())
        if settings.problem is not None and reread is not None and done.outcome == "changed":
            settings = await reread()  # what did not fit the plugins of before may fit these
        return replace(done, settings=settings)

    def ask(self) -> None:
        """Reload, and let nobody wait for it. While the daemon starts, what it loads is what there is."""
        if self._engine.state == "ready":
            self._engine.instruments.work.spawn(self._unheard())

    async def _unheard(self) -> None:
        await self._in_turn()

    async def _in_turn(self) -> Reloaded:
        self._asked += 1
        self._news.set()
        mine, began = self._asked, self._engine.clock.monotonic()
        async with self._lock:
            if self._last is None or self._answered < mine:
                self._last = await self._load()
        return replace(self._last, seconds=round(self._engine.clock.monotonic() - began, 4))

    async def stop(self) -> None:
        """No more loads; one that is being put in force is to its end."""
        async with self._lock:
            pass

    # --- one load -------------------------------------------------------------------------------------------

    async def _load(self) -> Reloaded:
        in_force, hosting = self._engine.instruments.in_force, self._engine.hosting
        while self._engine.state == "ready":
            self._answered = self._asked
            await self._look()
            if self._files.version == in_force.definitions.version:
                return self._unchanged()
            if self._quarantined:
                return self._refuse(tuple(problem for _, problem in self._quarantined.values()))
            host = hosting.make()
            try:
                return await self._try(host)
            except _Edited:
                continue
            except LoadError as error:
                problem = LoadProblem(error.message, error.hint, error.file, traceback=error.traceback)
                if error.file is not None:
                    self._quarantined[error.file] = self._files.digests.get(error.file), problem
                return self._refuse((problem,))
            except HostError as error:
                return self._refuse((LoadProblem(error.message, error.hint),))
            finally:
                if in_force.host is not host:
                    await hosting.discard(host)
        return Reloaded("refused", in_force.definitions.version, self.refused)

    async def _look(self) -> None:
        """At the files; what was in quarantine and is written otherwise now may be loaded."""
        if self._read is not None:
            self._files = await asyncio.to_thread(self._read)
            for file, (digest, _) in list(self._quarantined.items()):
                if self._files.digests.get(file) != digest:
                    del self._quarantined[file]

    async def _started(self, host: CodeHost) -> LoadReport:
        starting = asyncio.ensure_future(host.start())
        until = asyncio.get_running_loop().time() + _LONG
        try:
            while not starting.done():
                self._news.clear()
                news = asyncio.ensure_future(self._news.wait())
                await asyncio.wait({starting, news}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                await asyncio.wait({starting}, timeout=max(0.0, until - asyncio.get_running_loop().time()))
                if not starting.done() and self._read and (await asyncio.to_thread(self._read)) != self._files:
                    raise _Edited
            return starting.result()
        finally:
            if not starting.done():
                starting.cancel()
                await asyncio.wait({starting})

    async def _try(self, host: CodeHost) -> Reloaded:
        hosting, in_force = self._engine.hosting, self._engine.instruments.in_force
        report = self.checked(await self._started(host))
        if report.problems:
            return self._refuse(report.problems)
        if report.definitions.version == in_force.definitions.version and in_force.host is not None:
            return self._unchanged()
        held = hosting.held()
        await host.open(workers=self._engine.options.workers, without=held)
        if (reason := hosting.lost(host)) is not None:
            return self._refuse((LoadProblem(f"the code host of the edited plugins ended: {reason}"),))
        self._held_back = []
        try:
            await swap(self._engine, host, report, held)
        finally:
            held_back, self._held_back = self._held_back, None
            for heard in held_back:
                heard()
        self.refused = ()
        self._loaded()
        self._engine.offences.pardon()
        found = report.definitions
        _log.info(
            "plugins reloaded",
            version=found.version,
            assets=len(found.assets),
            sensors=len(found.sensors),
            schedules=len(found.schedules),
            jobs=len(found.jobs),
        )
        return Reloaded("changed", found.version)

    def _loaded(self) -> None:
        before, self._in_force = self._in_force, dict(self._files.digests)
        self._stand(loaded=before)

    def _unchanged(self) -> Reloaded:
        if self.refused:
            _log.info("the plugins are again as they are in force")
        self._note(())
        return Reloaded("unchanged", self._engine.instruments.in_force.definitions.version)

    def _refuse(self, problems: tuple[LoadProblem, ...]) -> Reloaded:
        if problems != self.refused:
            for one in problems:
                _log.error("edited plugins are not put in force", problem=str(one))
        self._note(problems)
        return Reloaded("refused", self._engine.instruments.in_force.definitions.version, problems)

    def _note(self, refused: tuple[LoadProblem, ...]) -> None:
        self.refused, report = refused, self._engine.load_report
        if report is not None:
            self._engine.load_report = replace(report, problems=refused)
        self._stand()

    def _stand(self, loaded: dict[str, str] | None = None) -> None:
        self.plugins = standing(
            self._files.digests,
            self._in_force,
            self.plugins,
            problems=self.refused,
            quarantined={file: problem for file, (_, problem) in self._quarantined.items()},
            loaded=loaded,
            now=self._engine.clock.now(),
        )
