"""The worker's side of `ctx.map`: forks members, hands items out, takes results in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from freshet.definitions.durations import format_duration
from freshet.errors import ItemsFailed, ValueFormatError
from freshet.host.fanout.cache import ItemCache
from freshet.host.fanout.call import MapCall
from freshet.host.fanout.items import Failure, ItemQueue
from freshet.host.fanout.member import ORDER, serve
from freshet.host.fanout.record import Kept, MapRecord, found_before, item_key, retried
from freshet.host.frames import FrameDecoder
from freshet.host.messages import ErrorData
from freshet.host.process import describe_end, kill_all, tree_of
from freshet.host.step import error_data
from freshet.io.registry import ValueRef, read_value

__all__ = ["Fan", "Place"]

_CHUNK = 1 << 18
_FLUSH_EVERY = 0.05
"""Seconds that lines of the record wait for others."""
_CANCELED = Failure(ErrorData(type="Canceled", message="ended by hand", traceback=""), canceled=True)


@dataclass(frozen=True)
class Place:
    """Of which step this is; `runs`: the folder of all runs; `retries`: the run that this one retries, if it does;
    `call`: its number among the step's calls; `close`: descriptors that a member must not hold."""

    runs: Path
    run_id: int
    position: int
    step: str
    attempt: int
    retries: int | None
    call: int
    close: tuple[int, ...] = ()

    @property
    def folder(self) -> Path:
        """The run's."""
        return self.runs / str(self.run_id)


@dataclass(eq=False)
class _Member:
    pid: int
    sock: socket.socket
    decoder: FrameDecoder = field(default_factory=FrameDecoder)
    item: int | None = None
    began: float = 0.0
    timer: asyncio.TimerHandle | None = None
    ending: ErrorData | None = None
    canceled: bool = False
    killed: bool = False
    below: set[int] = field(default_factory=set[int])

    def kill(self) -> None:
        """End it, and what its item has started."""
        self.killed = True
        tree = tree_of(self.pid)
        self.below.update(tree[1:])
        kill_all(tree)


class Fan:
    """One call. `progress`: told how many are over, of how many. Use: `await Fan(...).run()`, once."""

    def __init__(self, call: MapCall, place: Place, ctx: Any, progress: Callable[[int, int], None]) -> None:
        self._call = call
        self._place = place
        self._ctx = ctx
        self._progress = progress
        self._results: list[Any] = [None] * len(call.items)
        self._record = MapRecord(place.folder, place.position, place.step, place.call)
        key = item_key(call.function)
        self._keys = [key(item) for item in call.items]
        self._before: dict[int, Kept] = {}
        self._cache = None
        if call.cache is not None:
            self._cache = ItemCache(place.runs, place.step, call.function, call.cache, time.time())
        self._cached: set[int] = set()
        self._told = 0
        self._queue = ItemQueue(self._to_do(), call.retries, random.Random(os.urandom(8)))
        self._members: set[_Member] = set()
        self._orphans: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._due: asyncio.TimerHandle | None = None
        self._flush: asyncio.Handle | None = None

    def _to_do(self) -> list[int]:
        """The items to do: not those that an earlier attempt of the step has made, or the run that this one retries."""
        kept = self._kept()
        todo: list[int] = []
        for item, key in enumerate(self._keys):
            found = None if key is None else kept.get(key)
            if not (self._is_there(item, found) or self._found_in_cache(item)):
                todo.append(item)
        return todo

    def _is_there(self, item: int, found: Kept | None) -> bool:
        """Whether it was made before, and the value has not gone with the run in whose folder it lay."""
        if found is None:
            return False
        try:
            self._results[item] = self._read(found)
        except (ValueFormatError, OSError):
            return False
        self._before[item] = found
        return True

    def _found_in_cache(self, item: int) -> bool:
        """Whether a run of before has made it, and the value is still there."""
        found = None if self._cache is None else self._cache.find(self._call.items[item])
        if not self._is_there(item, found):
            return False
        self._cached.add(item)
        return True

    def _kept(self) -> dict[str, Kept]:
        place = self._place
        if place.attempt > 1:
            return found_before(self._record.path, place.run_id)
        if place.retries is None:
            return {}
        path = retried(place.runs / str(place.retries), place.step, place.call)
        return {} if path is None else found_before(path, place.retries)

    def _read(self, found: Kept) -> Any:
        if isinstance(found.value, bytes):
            return orjson.loads(found.value)
        return read_value(self._place.runs / str(found.run_id), found.value)

    # --- the whole -----------------------------------------------------------------------------------------

    async def run(self) -> list[Any]:
        """The results in the order of the items. Raises `ItemsFailed` when all are over and some have failed."""
        call, place = self._call, self._place
        head = {"map": call.name, "total": len(call.items), "attempt": place.attempt, "t": time.time()}
        self._record.add(head)
        for item, kept in self._before.items():
            cached = {"cached": kept.run_id} if item in self._cached else {}
            self._note_kept({"i": item, "n": 0, "t": head["t"], **cached}, kept)
        try:
            self._advance()
            if self._queue.left:
                await self._over
        finally:
            self._end()
        failed = dict(sorted(self._queue.failed.items()))
        errors = {item: f"{one.error['type']}: {one.error['message']}" for item, one in failed.items()}
        if errors and call.raising:
            raise ItemsFailed(call.name, len(call.items), errors)
        for item, text in errors.items():
            self._results[item] = ItemsFailed(call.name, 1, {item: text})
        return self._results

    def _end(self) -> None:
        for member in list(self._members):
            self._bury(member)
        for handle in (self._due, self._flush):
            if handle is not None:
                handle.cancel()
        self._record.flush()
        self._tell()

    def _tell(self) -> None:
        over = len(self._call.items) - self._queue.left
        if over != self._told:
            self._told = over
            self._progress(over, len(self._call.items))

    # --- handing out ---------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Give each member that has none an item; fork one where there are too few."""
        if self._queue.left == 0:
            if not self._over.done():
                self._over.set_result(None)
            return
        idle = [member for member in self._members if member.item is None]
        while idle or len(self._members) < self._call.limit:
            item = self._queue.take(time.monotonic())
            if item is None:
                break
            self._hand(idle.pop() if idle else self._fork(), item)
        self._wait_for_due()
        self._flush_soon()

    def _wait_for_due(self) -> None:
        due = self._queue.next_due()
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if due is not None:
            self._due = self._loop.call_later(max(0.0, due - time.monotonic()), self._advance)

    def _hand(self, member: _Member, item: int) -> None:
        attempt = self._queue.attempt(item)
        member.item, member.began, member.ending, member.canceled = item, time.monotonic(), None, False
        self._record.add({"i": item, "n": attempt, "b": time.time()})
        if self._call.timeout is not None:
            member.timer = self._loop.call_later(self._call.timeout, self._time_out, member)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its end shows on reading
            member.sock.send(ORDER.pack(item, attempt))

    def _fork(self) -> _Member:
        ours, theirs = socket.socketpair()
        others = (*(member.sock.fileno() for member in self._members), ours.fileno(), *self._place.close)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            serve(self._call, self._ctx, theirs, others, self._place.folder, self._place.run_id, parent)
        theirs.close()
        ours.setblocking(False)
        member = _Member(pid, ours)
        self._members.add(member)
        self._loop.add_reader(ours.fileno(), self._hear, member)
        return member

    # --- what comes back -----------------------------------------------------------------------------------

    def _hear(self, member: _Member) -> None:
        try:
            data = member.sock.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:
            data = b""
        for payload in member.decoder.feed(data):
            self._came(member, payload)
        if not data:
            self._gone(member)
        elif member.killed and member.item is None:  # what it made was on its way: nothing more is for it
            self._bury(member)
        self._advance()

    def _came(self, member: _Member, payload: bytes) -> None:
        head, newline, body = payload.partition(b"\n")
        told: dict[str, Any] = orjson.loads(head)
        item, line = told["i"], {"i": told["i"], "n": told["n"], "t": time.time(), "d": told["d"]}
        self._free(member)
        if "error" in told:
            self._fail(item, Failure(told["error"], told["retried"]), line)
            return
        kept = Kept(body if newline else ValueRef(**told["ref"]), self._place.run_id)
        try:
            self._results[item] = self._read(kept)
        except Exception as error:  # what a class of the user's makes of its own bytes, too
            self._fail(item, Failure(error_data(error)), line)
            return
        self._note_kept(line, kept)
        if self._cache is not None:
            self._cache.keep(self._call.items[item], kept, line["t"] - line["d"])
        self._queue.succeeded(item)
        self._tell()

    def _note_kept(self, line: dict[str, Any], kept: Kept) -> None:
        key = self._keys[int(line["i"])]
        if key is not None:
            line["k"] = key
        if isinstance(kept.value, bytes):
            self._record.add(line, kept.value)
        else:
            elsewhere = {} if kept.run_id == self._place.run_id else {"in": kept.run_id}
            self._record.add({**line, "ref": asdict(kept.value), **elsewhere})

    def _gone(self, member: _Member) -> None:
        """It has ended by itself, or by our hand."""
        item, began = member.item, member.began
        how = self._bury(member)
        if item is None:
            return
        died = ErrorData(type="WorkerDied", message=f"the process of the item ended: {how}", traceback="")
        failure = _CANCELED if member.canceled else Failure(member.ending or died)
        line = {"i": item, "n": self._queue.attempt(item), "t": time.time(), "d": round(time.monotonic() - began, 6)}
        self._fail(item, failure, line)

    def _fail(self, item: int, failure: Failure, line: dict[str, Any]) -> None:
        now = time.monotonic()
        due = self._queue.fail(item, failure, now)
        again = None if due is None else time.time() + due - now
        self._record.add({**line, "error": failure.error, "again": again, "canceled": failure.canceled})
        self._tell()

    def _free(self, member: _Member) -> None:
        member.item = None
        if member.timer is not None:
            member.timer.cancel()
            member.timer = None

    def _bury(self, member: _Member) -> str:
        self._free(member)
        self._members.discard(member)
        self._loop.remove_reader(member.sock.fileno())
        member.sock.close()
        member.kill()
        try:
            _, status = os.waitpid(member.pid, 0)
        except ChildProcessError:  # user code has waited for all its children
            return "unknown"
        self._orphans = {pid for pid in self._orphans | member.below if _is_left(pid)}
        return describe_end(status)

    # --- ended early ---------------------------------------------------------------------------------------

    def _time_out(self, member: _Member) -> None:
        text = f"timed out after {format_duration(self._call.timeout or 0.0)}"
        member.ending = ErrorData(type="TimeoutError", message=text, traceback="")
        member.kill()

    def cancel(self, item: int) -> None:
        """End one item; the others go on. Nothing happens to one that is over, or unknown."""
        if not 0 <= item < len(self._call.items):
            return
        busy = next((member for member in self._members if member.item == item), None)
        if busy is not None:
            busy.canceled = True
            busy.kill()
        elif self._queue.cancel(item, _CANCELED):
            self._record.add({"i": item, "n": self._queue.attempt(item), "t": time.time(), **_told(_CANCELED)})
            self._advance()

    def _flush_soon(self) -> None:
        if self._flush is None:
            self._flush = self._loop.call_later(_FLUSH_EVERY, self._write)

    def _write(self) -> None:
        self._flush = None
        self._record.flush()


def _is_left(pid: int) -> bool:
    """Whether a process that was killed, a child of this one since its own parent ended, is still to be waited for."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def _told(failure: Failure) -> dict[str, Any]:
    return {"error": failure.error, "again": None, "canceled": failure.canceled}
