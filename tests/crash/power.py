"""A disk that may lose power: what was written and not flushed is gone, or half there.

The daemon's database runs on `Disk`, a VFS of SQLite's that writes through to real files and keeps a record of each
write, truncation and flush. `remains` replays a record up to some moment as the worst disk would: of what no flush
followed, nothing is there, or any sectors of it.

`python -m tests.crash.power SYNCHRONOUS RECORD --config FILE` is a daemon on such a disk. The production code has no
hooks and runs as it is, on apsw's connection instead of sqlite3's; SYNCHRONOUS is FULL, or a mutant that the tests must
find.
"""

from __future__ import annotations

import os
import random
import sqlite3
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import apsw

from freshet.configuration import load_settings
from freshet.engine.daemon import run_daemon
from freshet.store import connection

__all__ = ["Disk", "install", "remains"]

_HEAD = struct.Struct("<cBQI")
"""What happened, the length of the file's name, an offset or a size, the length of the data."""
_SECTOR = 512


class Disk(apsw.VFS):
    """Under the name "power"; `record` gets what is done to its files."""

    def __init__(self, record: Path) -> None:
        super().__init__("power", "")
        self.name = "power"
        self._record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, what: bytes, name: str, number: int = 0, data: bytes = b"") -> None:
        """One thing more, whole or not at all."""
        known = name.encode()
        os.write(self._record, _HEAD.pack(what, len(known), number, len(data)) + known + data)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        """A file of the disk."""
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """It is gone for certain when the folder is flushed."""
        super().xDelete(filename, syncdir)
        self.note(b"d", Path(filename).name, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "").name

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType]
        self._disk.note(b"w", self._name, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._disk.note(b"t", self._name, newsize)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._disk.note(b"s", self._name)


class _Rows:
    """A finished statement, as a cursor of sqlite3."""

    def __init__(self, rows: list[Any], rowcount: int, lastrowid: int) -> None:
        self._rows = iter(rows)
        self.rowcount = rowcount
        self.lastrowid = lastrowid

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)


class _Connection:
    """What the store uses of a sqlite3.Connection, with apsw's behind it."""

    def __init__(self, uri: str, disk: Disk, *, timeout: float) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        self._db = apsw.Connection(uri, flags=flags, vfs=disk.name)
        self._disk = disk  # registered for as long as it is referred to
        self._db.set_busy_timeout(int(timeout * 1000))

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def execute(self, sql: str, parameters: Any = ()) -> _Rows:
        try:
            found = cast("list[Any]", self._db.execute(sql, parameters).fetchall())  # pyright: ignore[reportUnknownMemberType]
        except apsw.Error as error:
            kind = sqlite3.IntegrityError if isinstance(error, apsw.ConstraintError) else sqlite3.OperationalError
            raised = kind(str(error))
            raised.sqlite_errorcode = cast(Any, error).extendedresult
            raise raised from error
        return _Rows(found, self._db.changes(), self._db.last_insert_rowid())

    def executemany(self, sql: str, many: Iterable[Any]) -> _Rows:
        return _Rows([], sum(self.execute(sql, one).rowcount for one in many), 0)

    def close(self) -> None:
        self._db.close()


def install(record: Path, synchronous: str) -> Disk:
    """From now on this process's stores are on such a disk."""
    disk = Disk(record)
    pragmas = tuple(one for one in connection._PRAGMAS if "synchronous" not in one)  # pyright: ignore[reportPrivateUsage]
    assert len(pragmas) == len(connection._PRAGMAS) - 1  # pyright: ignore[reportPrivateUsage]
    if synchronous != "FULL":
        connection._PRAGMAS = (*pragmas, f"PRAGMA synchronous = {synchronous}")  # type: ignore[assignment]  # pyright: ignore

    def opened(uri: str, busy_timeout: float, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
        return cast(sqlite3.Connection, _Connection(uri, disk, timeout=busy_timeout))

    connection._open = opened  # pyright: ignore[reportPrivateUsage]
    return disk


# --- what is there when the power is back -------------------------------------------------------------------------


@dataclass
class _Kept:
    safe: bytearray = field(default_factory=bytearray)
    since: list[tuple[bytes, int, bytes]] = field(default_factory=list[tuple[bytes, int, bytes]])
    flushed: bool = False

    def flush(self) -> None:
        for what, number, data in self.since:
            _apply(self.safe, what, number, data)
        self.since.clear()
        self.flushed = True

    def worst(self, rng: random.Random | None) -> bytes:
        left = bytearray(self.safe)
        for what, number, data in self.since if rng is not None else ():
            for at in range(0, max(len(data), 1), _SECTOR):
                if rng is not None and rng.random() < 0.5:
                    _apply(left, what, number + at if what == b"w" else number, data[at : at + _SECTOR])
        return bytes(left)


def _apply(image: bytearray, what: bytes, number: int, data: bytes) -> None:
    if what == b"t":
        del image[number:]
        return
    image.extend(bytes(max(0, number + len(data) - len(image))))
    image[number : number + len(data)] = data


def _read(record: bytes) -> Iterator[tuple[bytes, str, int, bytes]]:
    at = 0
    while at + _HEAD.size <= len(record):
        what, named, number, size = _HEAD.unpack_from(record, at)
        name, data = at + _HEAD.size, at + _HEAD.size + named
        at = data + size
        if at <= len(record):
            yield what, record[name:data].decode(), number, record[data:at]


def remains(record: bytes, rng: random.Random | None = None) -> Mapping[str, bytes]:
    """The files after a loss of power at the end of `record`, by name: without anything that was not flushed, or with
    what sectors of it `rng` lets be. With the first flush of a file SQLite flushes its folder."""
    files, deleted = dict[str, _Kept](), dict[str, _Kept]()
    for what, name, number, data in _read(record):
        if what == b"d":
            gone = files.pop(name, None)
            if number:
                deleted.clear()
            elif gone is not None and gone.flushed:
                deleted[name] = gone
            continue
        kept = files.setdefault(name, _Kept())
        if what != b"s":
            kept.since.append((what, number, data))
            continue
        if not kept.flushed:
            deleted.clear()
        kept.flush()
    there = {**deleted, **{name: kept for name, kept in files.items() if kept.flushed}}
    return {name: kept.worst(rng) for name, kept in there.items()}


def main() -> int:
    """Run as `freshet run` does, on that disk."""
    synchronous, record, _, config = sys.argv[1:]
    install(Path(record), synchronous)
    return run_daemon(load_settings(Path(config)))


if __name__ == "__main__":
    sys.exit(main())
