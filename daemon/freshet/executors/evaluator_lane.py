"""One evaluator as the daemon holds it: its process, the ticks in flight there, and those that wait until it is up."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog

from freshet.errors import HostError
from freshet.executors.base import Answers, TickEnd, TickOrder
from freshet.executors.evaluator_link import EvaluatorLink
from freshet.executors.evaluator_outcomes import OutcomeParts
from freshet.executors.event_service import serve_events
from freshet.executors.forked import ForkedEvaluator
from freshet.executors.heartbeat import Heartbeat
from freshet.executors.holds import Holds
from freshet.executors.inbox_service import serve_inbox
from freshet.executors.ledger_service import serve_ledger, serve_texts
from freshet.executors.processes import Vitals, running_threads, vitals
from freshet.executors.remains import Remains
from freshet.executors.spawning import Tasks
from freshet.executors.stackfile import StackFile
from freshet.executors.stacks import alone, last_words
from freshet.host.evaluator.page import read_held, read_page
from freshet.store.records import TickError
from freshet.store.records.offences import Offence

__all__ = ["Flight", "Lane", "LaneOwner"]

_STACK_TURN = 0.004
_STACK_TURNS = 50
"""It says where it stands within the first few, unless the machine is busy."""
_NO_STACK_TURNS = 5

_log = structlog.get_logger("freshet.sensors")


@dataclass(slots=True)
class Flight:
    """A tick in flight. `parts`: what has arrived of its outcome. `refused`: its checkpoint was refused, so that nobody
    waits for its end."""

    order: TickOrder
    parts: OutcomeParts | None = None
    refused: bool = False

    def add(self, body: dict[str, Any]) -> None:
        """A part has arrived."""
        if self.parts is None:
            self.parts = OutcomeParts()
        self.parts.add(body)


class LaneOwner(Protocol):
    """Who decides what becomes of an evaluator."""

    def silent(self, lane: Lane, seconds: float) -> None:
        """Its loop has been silent for that long."""
        ...

    def held(self, lane: Lane, sensor: str, offence: Offence) -> None:
        """A step of it held the loop too long, and is over."""
        ...

    def overdue(self, lane: Lane, tick_id: int, stack: str, *, blocked: bool) -> None:
        """A tick is past its timeout and cannot be ended from within. `blocked`: the loop itself stands still."""
        ...

    def idle(self, lane: Lane, end: TickEnd) -> None:
        """A tick ended."""
        ...

    def gone(self, lane: Lane) -> None:
        """The other end of the socket is closed."""
        ...

    def settled(self, lane: Lane, sensor: str) -> None:
        """A look has ended for good."""
        ...

    def released(self, lane: Lane, sensor: str) -> None:
        """`close()` of a sensor has ended."""
        ...


class Lane:
    """An evaluator for some sensors, forked by `start`. `shared`: it is watched by heartbeat, else by `deadline`."""

    def __init__(self, name: str, sensors: list[str], *, shared: bool, owner: LaneOwner, answers: Answers) -> None:
        self.name = name
        self.sensors = sensors
        self.shared = shared
        self.flights: dict[int, Flight] = {}
        self.waiting: list[TickOrder] = []
        self.forked: ForkedEvaluator | None = None
        self.starting: asyncio.Task[None] | None = None
        self.started_at = 0.0
        self.not_before = 0.0
        """Loop time before which no evaluator is forked: a back-off."""
        self.tasks = Tasks()
        self._owner = owner
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._link: EvaluatorLink | None = None
        self._uncommitted: set[int] = set()
        self._stacks = StackFile()
        self._loop_thread = 0
        self._heard = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._holds = Holds()
        self._heartbeat = Heartbeat(
            steps=self._steps,
            vitals=self._vitals,
            ping=self._ping,
            busy=lambda: bool(self.flights),
            noticed=self._notice,
            stalled=self._silent,
        )
        self._handlers: dict[str, Callable[..., None]] = {
            "hello": self._hello,
            "part": self._part,
            "end": self._end,
            "wake": self._wake,
            "load": self._load,
            "inbox": self._inbox,
            "events": self._events,
            "texts": self._texts,
            "pong": self._pong,
            "overdue": self._overdue,
            "log": self._write_log,
            "closed": self._closed,
            "released": self._released,
        }

    # --- life ----------------------------------------------------------------------------------------------

    def connect(self, forked: ForkedEvaluator, *, watching: bool) -> None:
        """The process is there: let it hold the sensors, and send what waits."""
        self.forked = forked
        self.started_at = self._loop.time()
        self._link = EvaluatorLink(forked.sock, receive=self._receive, ended=lambda: self._owner.gone(self))
        self._link.send(["open", list(enumerate(self.sensors)), watching])
        waiting, self.waiting = self.waiting, []
        for order in waiting:
            self.tick(order)

    def tick(self, order: TickOrder) -> None:
        """Begin an evaluation, at once or when the evaluator is up."""
        if self._link is None:
            self.waiting.append(order)
            return
        message = ["tick", order.tick_id, order.sensor, order.cursor, order.ledger_revision, order.hints]
        try:
            self._link.send([*message, order.now, order.timeout, order.dry_run])
        except (HostError, TypeError) as error:  # no frame holds its cursor, or (a dry run's) it is no JSON of ours
            failed = TickEnd(order.tick_id, order.sensor, "failed", error=TickError(type(error).__name__, str(error)))
            self._loop.call_soon(self._answers.tick_ended, failed)
            return
        self.flights[order.tick_id] = Flight(order)
        self._holds.began(order.tick_id, order.sensor)
        self._heartbeat.start()
        if not self.shared:
            self._set_deadline(order)

    def cancel(self, tick_id: int) -> None:
        """Nobody waits for this tick any more."""
        for order in self.waiting:
            if order.tick_id == tick_id:
                self.waiting.remove(order)
                self._answers.tick_ended(TickEnd(tick_id, order.sensor, "abandoned"))
                return
        self.send(["cancel", tick_id])

    def looks_at(self, sensor: str) -> bool:
        """Whether a look of it is in flight."""
        return any(flight.order.sensor == sensor for flight in self.flights.values())

    def knows(self, tick_id: int) -> bool:
        """Whether a tick is or was evaluated here, and its commit is of interest."""
        return tick_id in self.flights or tick_id in self._uncommitted

    def committed(self, tick_id: int, committed: bool, ledger_revision: int, next_tick_id: int | None) -> None:
        """The engine's word on an outcome or checkpoint."""
        self._uncommitted.discard(tick_id)
        flight = self.flights.get(tick_id)
        if flight is not None and committed and next_tick_id is not None:
            del self.flights[tick_id]
            flight.order = replace(flight.order, tick_id=next_tick_id)
            self.flights[next_tick_id] = flight
            self._holds.began(next_tick_id, flight.order.sensor)
            if not self.shared:
                self._set_deadline(flight.order)
        elif flight is not None:
            flight.refused = True
        self.send(["committed", tick_id, committed, ledger_revision, next_tick_id])

    def send(self, message: list[Any]) -> None:
        """Tell the evaluator, if it is up."""
        if self._link is not None:
            self._link.send(message)

    def disconnect(self) -> None:
        """The process is gone, or is to be forgotten: read what it still said, and let go of what it held."""
        self._heartbeat.stop()
        if self._deadline is not None:
            self._deadline.cancel()
        self.tasks.cancel()
        self.hear_rest()
        if self._link is not None:
            self._link.close()
            self._link = None
        if self.forked is not None:
            self.forked.page.close()
            self.forked = None
        self._stacks.close()
        self._loop_thread = 0
        self._uncommitted.clear()

    def hear_rest(self) -> None:
        """Take in what a dead evaluator still said."""
        for message in self._link.read_rest() if self._link is not None else ():
            if message[0] in ("hello", "part", "end", "log"):
                self._handlers[message[0]](*message[1:])

    # --- what it shows when asked, or when it is dead ------------------------------------------------------

    async def examine(self) -> Remains | None:
        """Where the silent evaluator stands; None if it shows a sign of life meanwhile."""
        assert self.forked is not None
        pid, page, heard = self.forked.pid, read_page(self.forked.page), self._heard
        running = frozenset(thread.tid for thread in page.threads)
        start = self._stacks.size()
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGUSR1)
        end = start
        for _ in range(_STACK_TURNS if self._stacks else _NO_STACK_TURNS):
            await asyncio.sleep(_STACK_TURN)
            if not self._still_silent(heard, page.steps):
                return None
            running = running_threads(pid, running)
            if start < end == self._stacks.size():
                break
            end = self._stacks.size()
        if not self._still_silent(heard, page.steps):
            return None
        ran = frozenset(thread.ident for thread in page.threads if thread.tid in running)
        return Remains(page, self._stacks.read(start), self._loop_thread, ran)

    def _still_silent(self, heard: int, steps: int) -> bool:
        return self.forked is not None and self._heard == heard and read_page(self.forked.page).steps == steps

    def remains(self) -> Remains:
        """What a dead evaluator left."""
        assert self.forked is not None
        return Remains(read_page(self.forked.page), last_words(self._stacks.read()), self._loop_thread)

    def resume_heartbeat(self) -> None:
        """It was a false alarm."""
        if self.flights:
            self._heartbeat.start()

    # --- time ----------------------------------------------------------------------------------------------

    def _set_deadline(self, order: TickOrder) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(order.timeout + 0.5, self._past_deadline, order.tick_id)

    def _past_deadline(self, tick_id: int) -> None:
        if tick_id in self.flights:
            self.tasks.spawn(self._say_overdue(tick_id))

    async def _say_overdue(self, tick_id: int) -> None:
        """For an evaluator whose loop is blocked, and that therefore cannot say so itself."""
        remains = await self.examine()
        if remains is None:  # it lives, and is about to say it itself
            await asyncio.sleep(_STACK_TURNS * _STACK_TURN)
        if tick_id in self.flights:
            stack, blocked = ("", False) if remains is None else (remains.stack_of(tick_id), bool(remains.page.owner))
            self._owner.overdue(self, tick_id, stack, blocked=blocked)

    def _silent(self, seconds: float) -> None:
        if self.shared:
            self._owner.silent(self, seconds)

    def _notice(self) -> None:
        """Let the loop's thread write down where it stands; the stacks of before are of no use any more."""
        if self.forked is not None and self._stacks and (owner := read_page(self.forked.page).owner):
            self._stacks.clear()
            self._holds.noticed(owner)
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.forked.pid, signal.SIGUSR2)

    def _note_held(self) -> None:
        if self.forked is None:
            return
        held = read_held(self.forked.page)
        sensor = self._holds.over(held, dict(enumerate(self.sensors)))
        if sensor is not None and (stack := alone(self._stacks.read())):
            self._owner.held(self, sensor, Offence("held", held.seconds, stack))

    def _steps(self) -> int:
        return 0 if self.forked is None else read_page(self.forked.page).steps

    def _vitals(self) -> Vitals:
        return Vitals() if self.forked is None else vitals(self.forked.pid)

    def _ping(self, number: int) -> None:
        self.send(["ping", number])

    # --- what it says --------------------------------------------------------------------------------------

    def _receive(self, messages: list[Any]) -> None:
        self._heard += 1
        self._heartbeat.alive()
        for message in messages:
            self._handlers[message[0]](*message[1:])
        self._note_held()

    def _hello(self, loop_thread: int) -> None:
        self._loop_thread = loop_thread
        if self._link is not None and self._link.fds:
            self._stacks.take(self._link.fds.pop())

    def _part(self, tick_id: int, body: dict[str, Any] | None) -> None:
        flight = self.flights.get(tick_id)
        if flight is not None and body is not None:
            flight.add(body)
        elif flight is not None:
            flight.parts = None

    def _end(self, tick_id: int, status: Any, body: dict[str, Any] | None) -> None:
        flight = self.flights.get(tick_id)
        if flight is None:
            return
        if body is not None:
            flight.add(body)
        parts, flight.parts = flight.parts, None
        sensor = flight.order.sensor
        end = TickEnd(tick_id, sensor, status) if parts is None else parts.end(tick_id, sensor, status)
        if status != "checkpoint":
            del self.flights[tick_id]
            if end.ledger.put or end.ledger.remove:
                self._uncommitted.add(tick_id)
            self._rest()
        if not flight.refused:
            self._owner.idle(self, end)
            self._answers.tick_ended(end)
        if status != "checkpoint":
            self._owner.settled(self, sensor)

    def _rest(self) -> None:
        if not self.flights:
            self._heartbeat.stop()
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    def _pong(self, number: int) -> None:
        """Heard: that is all."""

    def _closed(self) -> None:
        """The end of the stream follows."""

    def _released(self, sensor: str) -> None:
        self._owner.released(self, sensor)

    def _overdue(self, tick_id: int, stack: str) -> None:
        self._owner.overdue(self, tick_id, stack, blocked=False)

    def _wake(self, sensor: str, hints: list[str] | None) -> None:
        self._answers.woken(sensor, None if hints is None else tuple(hints))

    def _load(self, sensor: str) -> None:
        if self._link is not None:
            self.tasks.spawn(serve_ledger(self._answers, self._link, sensor))

    def _inbox(self, request: int, tick: int, sensor: str, after: int, limit: int, again: bool) -> None:
        if self._link is not None:
            serving = serve_inbox(self._answers, self._link, request, tick, sensor, after, limit, again)
            self.tasks.spawn(serving)

    def _events(self, *request: Any) -> None:
        if self._link is not None:
            self.tasks.spawn(serve_events(self._answers, self._link, *request))

    def _texts(self, request: int, sensor: str, digests: str) -> None:
        if self._link is not None:
            self.tasks.spawn(serve_texts(self._answers, self._link, request, sensor, digests))

    def _write_log(self, sensor: str, level: str, message: str, fields: dict[str, Any]) -> None:
        bound = _log.bind(sensor=sensor or self.name, evaluator=self.name)
        getattr(bound, level if level in ("debug", "info", "warning", "error") else "info")(message, fields=fields)
