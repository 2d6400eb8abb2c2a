"""FileSensor: a file that lands becomes a partition, and a run."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Unpack

from freshet import (
    Duration,
    DynamicPartitions,
    FreshetError,
    Hints,
    Sensor,
    SensorContext,
    SensorOptions,
    Skip,
    parse_duration,
)
from freshet_sensors.admit import Item, Rules, Said, admit, arrive
from freshet_sensors.fields import check_fields
from freshet_sensors.look import Folder, Survey
from freshet_sensors.looker import Looker
from freshet_sensors.options import Change, checked_changes, refuse_nonsense
from freshet_sensors.pattern import KeyTemplate, Pattern, temporary
from freshet_sensors.scan import File, Row, entry_of, readable
from freshet_sensors.settle import Settling
from freshet_sensors.telling import Telling

if TYPE_CHECKING:
    from freshet_sensors.wake import Waker

__all__ = ["FileSensor"]

_PIECE = 250
_PIECE_UNSAID = 5_000
_BREATH = 5_000


class FileSensor(Sensor):
    """Watches a folder: each file that lands, or changes, becomes a partition and a run.

    `path`: the folder; relative to `root` of the configuration. It need not be there yet: until it is, each look says
    so and does nothing. `pattern`, `key`: see `help(freshet_sensors.Pattern)` and `help(freshet_sensors.KeyTemplate)`.
    Files whose key no set may hold are reported in the log once, and passed over. Names such as `.x`, `x.tmp`,
    `x.part`, `x.partial`, `x~` are taken for unfinished.

    The truth is a scan against the ledger of (path, size, mtime_ns, inode): each such version is admitted once, through
    lost events and restarts. `partitions`: the set that gets the file's key, with the metadata `path` (absolute),
    `size` (bytes) and `mtime` (seconds since 1970). `target`: the asset or job to run for it, under the run key
    `PATH@SIZE:MTIME_NS:INODE`, with PATH below the folder: of two sensors over a folder and target, one makes the run,
    unless `run_key=` tells them apart. Without `partitions`, the run's tags `file` and `change` say what happened.

    `on`: which changes count, of created, modified and deleted. A deletion does nothing to the partition, unless
    `retire=True` (which implies "deleted"): then the key is deleted when no file has it any more. Without `partitions`,
    a deletion asks for a run of the target.

    `settle`: a file is taken once its size and time have stood still that long. "0s" is right where files are only ever
    renamed into place, within one file system; a file whose arrival by rename was seen skips `settle` anyway.
    `start`: "all", or "now": what is there when the first look has ended is taken for seen.

    Symbolic links: a link to a file counts as its target where that lies inside the folder; other links are passed
    over. With `follow=True` links lead on, to files and folders anywhere: each real file counts once, by its plain path
    where it lies inside, else by the first of the links to it; what lies behind a link that leads nowhere is not taken
    for deleted. Changes of a linked file are seen each `interval`. Network file systems tell no changes made elsewhere,
    and are looked at each `interval`.
    """

    def __init__(
        self,
        name: str,
        *,
        path: str | os.PathLike[str],
        pattern: str = "*",
        key: str | None = None,
        partitions: DynamicPartitions | None = None,
        target: object = None,
        on: Iterable[Change] = ("created", "modified"),
        settle: Duration = "250ms",
        start: Literal["all", "now"] = "all",
        retire: bool = False,
        follow: bool = False,
        interval: Duration = "30s",
        timeout: Duration = "60s",
        **flow: Unpack[SensorOptions],
    ) -> None:
        self.path = os.fspath(path)
        self.start = start
        self.follow = follow
        parsed = Pattern(pattern, what=f"{name}: pattern")
        settling = parse_duration(settle, what=f"{name}: settle")
        super().__init__(
            name,
            interval=interval,
            timeout=timeout,
            target=target,
            partitions=partitions,
            options={
                "path": self.path,
                "pattern": pattern,
                "key": key,
                "on": sorted(checked_changes(name, on, retire)),
                "settle": settling,
                "start": start,
                "retire": retire,
                "follow": follow,
            },
            **flow,
        )
        self.rules = Rules(
            pattern=parsed,
            key=KeyTemplate(key, parsed, what=f"{name}: key"),
            partitions=partitions,
            target=self.spec.target,
            on=checked_changes(name, on, retire),
            retire=retire,
            templated=self.spec.flow.run_key is not None,
        )
        refuse_nonsense(name, self.rules, start, target)
        if type(self).evaluate is FileSensor.evaluate:
            tags, metadata = (("file", "change"), ()) if partitions is None else ((), ("path", "size", "mtime"))
            check_fields(self, partition=partitions is not None, tags=tags, metadata=metadata)
        self._settling = Settling(settling)
        self._waker: Waker | None = None
        self._looker = Looker()
        self._telling = Telling()

    @property
    def watching(self) -> str | None:
        """`watching`, or `polling: ` and why; None while there are no wakes."""
        if self._waker is None:
            return None
        return self._waker.state + (f": {self._waker.reason}" if self._waker.reason else "")

    async def wakes(self) -> AsyncIterator[Hints]:
        """Changed paths as they happen, and again when they should have settled. The watch is set before the first."""
        from freshet_sensors.wake import Waker

        self._waker = waker = Waker(
            self._root(),
            self.rules.pattern,
            self._settling,
            interested_in_gone="deleted" in self.rules.on or "modified" not in self.rules.on,
            follow=self.follow,
        )
        try:
            while True:
                yield await waker.next()
        finally:
            self._waker = None
            waker.close()

    async def evaluate(self, ctx: SensorContext) -> AsyncIterator[Said | Skip]:
        """Look at the hints, or at everything, and admit what is new in pieces."""
        root = self._root()
        folder = Folder(root, self.rules.pattern, self.follow)
        memory: dict[str, Any] = dict(ctx.cursor or {})
        first = memory.get("folder") != root
        begun = self._settling.begin()
        try:
            survey = await self._looker.look(folder, ctx.ledger, None if first else ctx.hints)
        except NotADirectoryError:
            hint = "give path= the folder that it lies in, and pattern= its name"
            raise FreshetError(f"{root} is no folder, but a file", hint=hint) from None
        hints = None if survey.full else ctx.hints
        if hints is None:
            self._tell(ctx, root, survey)
            if (reason := _why_nothing(root, survey, memory, ctx)) is not None:
                yield Skip(reason, waiting=True)
                return
        elif not _is_same_device(survey, memory):
            survey.gone = []  # only a full look may say that a folder without its files is the one that is meant
        if first:
            # What another folder held, or held before the first look, is no deletion and no news.
            await self._take_for_seen(ctx, survey)
        items = await self._settled(ctx, survey, hints, begun)
        left = frozenset[str]()
        if self.rules.retire and items and items[0][1] is None:
            left = await self._looker.keys(folder, self.rules)
        again: int = memory.get("retired", 0)
        if survey.full and survey.identity is not None:
            memory |= {"folder": root, "device": survey.identity[0]}
        for at in range(0, len(items), _PIECE):
            if at:
                await ctx.checkpoint()
                await _turn()
            piece = [Item(path, File(*row) if row else None) for path, row in items[at : at + _PIECE]]
            if self.rules.retire and piece[0].file is None:
                memory["retired"] = again + 1
                _remember(ctx, memory)
            self._tell_lag(ctx, len(items) - at)
            for said in admit(ctx, self.rules, root, piece, left=left, again=again):
                yield said
        self._tell_lag(ctx, 0)
        _remember(ctx, memory)

    def arrival(self, path: str, at: float) -> Iterator[Said]:
        """What would be said of a file that arrives; nothing of one that is not meant. For `freshet simulate`.

        `path`: absolute, or relative to `root` of the configuration; `at`: seconds since 1970. The file system is not
        looked at: the file is taken for new and empty, and not for a link. Raises `PartitionKeyError` for one whose key
        no set may hold.
        """
        root = self._root()
        folder, whole = root.rstrip("/") + "/", os.path.abspath(path)  # noqa: PTH100  # as text
        if not whole.startswith(folder):
            return
        inner = whole.removeprefix(folder)
        if self.rules.pattern.matches(inner) and not any(map(temporary, inner.split("/"))):
            yield from arrive(self.rules, root, inner, at)

    def _root(self) -> str:
        return os.path.abspath(self.path)  # noqa: PTH100  # as text, and links stay as they are

    async def _take_for_seen(self, ctx: SensorContext, survey: Survey) -> None:
        """At the first look at a folder: nothing has gone; with `start="now"`, what is there is no news."""
        for path in survey.gone:
            ctx.ledger.remove(path)
        survey.gone = []
        if self.start == "all":
            return
        arrived = frozenset(ctx.hints or ())
        seen = [row for row in survey.fresh if row[0] not in arrived]
        for at, file in enumerate(map(File._make, seen)):
            if at and at % _PIECE_UNSAID == 0:
                await ctx.checkpoint()
                await _turn()
            ctx.ledger.add(entry_of(file.path), file.version)
        survey.fresh = [row for row in survey.fresh if row[0] in arrived]

    async def _settled(
        self, ctx: SensorContext, survey: Survey, hints: tuple[str, ...] | None, begun: int
    ) -> list[tuple[str, Row | None]]:
        """What may be taken now: what has gone, then files, the oldest first. The rest gets a look when it is due."""
        settling = self._settling.copy() if ctx.dry_run else self._settling
        settling.trusted = not self._looker.network
        now = ctx.now.timestamp()
        settled: list[tuple[str, Row | None]] = []
        paths: set[str] = set()
        found = chain(((path, None) for path in survey.gone), ((row[0], row) for row in survey.fresh))
        for at, (path, row) in enumerate(found):
            if at % _BREATH == _BREATH - 1:
                await _turn()
            paths.add(path)
            # A deletion that nobody asked about need not stand the test of time.
            wait = settling.wait(path, row, now) if row is not None or "deleted" in self.rules.on else 0.0
            if wait <= 0:
                settled.append((path, row))
                settling.forget(path, begun)
            elif self._waker is not None and not ctx.dry_run:
                self._waker.later(path, wait)
        if hints is None:
            settling.keep(paths, begun)
        for path in hints or ():
            if path not in paths:
                settling.forget(path, begun)
        return settled

    def _tell_lag(self, ctx: SensorContext, ready: int) -> None:
        """What is not admitted: `ready` files, and those that have not stood still long enough."""
        count, since = self._settling.waiting()
        ctx.lag(ready + count, None if since is None else datetime.fromtimestamp(since, UTC))

    def _tell(self, ctx: SensorContext, root: str, survey: Survey) -> None:
        """Compare what was looked at with what is watched, and log what has changed about either."""
        waker, there = self._waker, survey.identity is not None
        if waker is not None:
            waker.check(survey.identity)
            if waker.state == "polling" and there:
                ctx.notice(f"polling: {waker.reason}")
        found = {
            "unreadable": [readable(path) for path in survey.met.unreadable],
            "links": [readable(path) for path in survey.met.broken],
            "remote": [readable(path) for path in survey.met.remote],
            "watch": (waker.reason,) if waker is not None and waker.reason and there else (),
        }
        self._telling.tell(ctx, root, found)


async def _turn() -> None:
    """Give way: the loop has other sensors, and must answer that it is alive."""
    import asyncio

    await asyncio.sleep(0)


def _why_nothing(root: str, survey: Survey, memory: dict[str, Any], ctx: SensorContext) -> str | None:
    """Why a full look says nothing at all, and takes nothing for deleted; None where it counts."""
    if survey.identity is None:
        return f"the folder {root} is not there; it is watched for"
    known = memory.get("device")
    if known is not None and known != survey.identity[0] and not survey.files and len(ctx.ledger):
        return f"the folder {root} is empty and on another device than before: is its file system not mounted?"
    return None


def _is_same_device(survey: Survey, memory: dict[str, Any]) -> bool:
    return survey.identity is not None and memory.get("device") in (None, survey.identity[0])


def _remember(ctx: SensorContext, memory: dict[str, Any]) -> None:
    if ctx.cursor != memory:
        ctx.cursor = dict(memory)
