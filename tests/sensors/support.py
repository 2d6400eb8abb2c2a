"""A world for one sensor: what the store would remember of it, and ticks that commit or are lost."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from freshet import AddPartitions, DeletePartitions, DynamicPartitions, RunRequest, Skip
from freshet_sensors import FileSensor

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
OLD = NOW - timedelta(days=1)
BATCHES = DynamicPartitions("batches")


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def debug(self, message: str, /, **fields: Any) -> None:
        self.lines.append(("debug", message, fields))

    def info(self, message: str, /, **fields: Any) -> None:
        self.lines.append(("info", message, fields))

    def warning(self, message: str, /, **fields: Any) -> None:
        self.lines.append(("warning", message, fields))

    def error(self, message: str, /, **fields: Any) -> None:
        self.lines.append(("error", message, fields))


class DictLedger:
    """`freshet.Ledger` on a dict."""

    def __init__(self, entries: dict[str, str], notes: dict[str, Any] | None = None) -> None:
        self.entries = entries
        self.notes: dict[str, Any] = {} if notes is None else notes

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    def seen(self, key: str, version: str = "") -> bool:
        return self.entries.get(key) == version

    def add(self, key: str, version: str = "") -> None:
        key.encode()
        self.entries[key] = version

    def remove(self, key: str) -> None:
        self.entries.pop(key, None)

    def absent(self, keys: Iterable[str]) -> Iterator[str]:
        return iter(sorted(self.entries.keys() - set(keys)))


@dataclass
class Context:
    """`freshet.SensorContext` for one tick."""

    cursor: Any
    ledger: DictLedger
    hints: tuple[str, ...] | None
    now: datetime
    log: Log
    commit: Callable[[], None]
    dry_run: bool = False
    name: str = "landing"
    lag: Callable[..., None] = field(default=lambda *_: None)
    notice: Callable[[str], None] = field(default=lambda _: None)

    async def checkpoint(self) -> None:
        self.commit()

    def checkpoint_sync(self) -> None:
        self.commit()


class Killed(Exception):
    """The tick was cut off."""


@dataclass
class World:
    """What is committed: cursor, ledger, partitions, and the runs asked for, in order. `commits` counts pieces."""

    cursor: Any = None
    entries: dict[str, str] = field(default_factory=dict[str, str])
    partitions: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    runs: list[RunRequest] = field(default_factory=list[RunRequest])
    skips: list[str] = field(default_factory=list[str])
    commits: int = 0
    log: Log = field(default_factory=Log)
    sensor: str = ""
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    lagging: tuple[int, datetime | None] | None = None
    notices: list[str] = field(default_factory=list[str])

    async def tick(
        self,
        sensor: Any,
        hints: Iterable[str] | None = None,
        *,
        now: datetime = NOW,
        dry_run: bool = False,
        kill_after: int | None = None,
    ) -> list[Any]:
        """One tick. `kill_after`: the tick is lost after so many commits. Returns what was yielded."""
        self.sensor = sensor.name
        said: list[Any] = []
        pending: list[Any] = []
        ledger = DictLedger(dict(self.entries), self.notes)
        done = 0

        def commit() -> None:
            nonlocal done
            if kill_after is not None and done >= kill_after:
                raise Killed
            done += 1
            if not dry_run:
                self._commit(context, pending)
            pending.clear()

        context = Context(
            self.cursor, ledger, None if hints is None else tuple(hints), now, self.log, commit, dry_run=dry_run
        )
        context.lag, context.notice = self._lags, self.notices.append
        looks: AsyncIterator[Any] = sensor.evaluate(context)
        async for one in looks:
            said.append(one)
            pending.append(one)
        commit()
        return said

    def _lags(self, items: int, oldest: datetime | None = None) -> None:
        self.lagging = (items, oldest)

    def _commit(self, context: Context, pending: list[Any]) -> None:
        self.commits += 1
        self.cursor = context.cursor
        self.entries = dict(context.ledger.entries)
        for one in pending:
            match one:
                case AddPartitions():
                    added: Any = one.keys
                    self.partitions |= added
                case DeletePartitions():
                    for key in one.keys:
                        self.partitions.pop(key, None)
                case RunRequest():
                    self.runs.append(one)
                case Skip(reason=reason):
                    self.skips.append(reason)
                case _:
                    raise AssertionError(one)

    @property
    def run_keys(self) -> list[str]:
        """The run keys asked for, in order."""
        return [run.run_key for run in self.runs if run.run_key is not None]

    @property
    def item_keys(self) -> list[str]:
        """The run keys asked for, in order, without the sensor's name that they begin with."""
        return [key.removeprefix(f"{self.sensor}:") for key in self.run_keys]

    @property
    def files_run(self) -> list[str]:
        """The paths in the run keys, in order."""
        return [key.rpartition("@")[0] for key in self.run_keys]


def sensor(inbox: Path, **options: Any) -> FileSensor:
    """The usual sensor, with some options of its own."""
    defaults: dict[str, Any] = {"pattern": "{batch}.csv", "partitions": BATCHES, "target": "raw"}
    return FileSensor("landing", path=str(inbox), **(defaults | options))


def put(inbox: Path, name: str, text: str = "x", *, at: datetime = OLD) -> Path:
    """A file with a time of its own, by default an old one."""
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path
