"""The evaluators of one code host: one for all sensors, and one for each that has to be kept from the others.

A tick goes to the shared evaluator. Where its loop falls silent (`heartbeat`), a `def` sensor stays past its timeout,
or the process dies, the evaluator is killed and forked anew. The sensor whose fault it was (`verdict`) has failed, and
has an evaluator of its own from then on (`isolation`); the ticks of the others are given back as 'abandoned', and
started again.

In an evaluator of its own a sensor may block as long as its timeout: nobody else waits for it. Such an evaluator is
forked for the first tick, at once where the sensor has `wakes()`; it is kept, since the next tick will need it, and
ended after `IDLE` seconds without one unless `wakes()` run in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from freshet.definitions.graph import Definitions
from freshet.errors import HostError
from freshet.executors.base import Answers, TickEnd, TickOrder
from freshet.executors.departure import Awaited, Departure
from freshet.executors.evaluator_lane import Lane
from freshet.executors.forked import ForkedEvaluator
from freshet.executors.isolation import Isolation
from freshet.executors.remains import Remains
from freshet.executors.spawning import Tasks
from freshet.executors.stacks import COLLECTING, crashed_thread, stack_of
from freshet.executors.verdict import Suspicions, Verdict, judge, struck_end
from freshet.store.records.offences import Offence

__all__ = ["IDLE", "EvaluatorPool"]

IDLE = 300.0
_MAIN = "main"
_CLOSE_PATIENCE = 1.0
_RELEASE_PATIENCE = 6.0  # for `close()` of a sensor that is given away: one more than the evaluator gives it
_EOF_PATIENCE = 2.0
"""Seconds between the end of an evaluator's stream and the host's word on how it ended, before it is killed."""
_YOUNG = 1.0
"""An evaluator that ends sooner, through nobody's fault, is forked anew only after a growing delay."""
_MAX_DELAY = 5.0
_NOBODY = Verdict()
_CLOSED = Offence("ended", 0.0)

_log = structlog.get_logger("freshet.sensors")


class EvaluatorPool:
    """Runs ticks. `fork` starts an evaluator under a label, raising `HostError` once the host has ended; `kill` sends
    SIGKILL to one of them."""

    def __init__(
        self,
        fork: Callable[[str], Awaitable[ForkedEvaluator]],
        kill: Callable[[int], None],
        answers: Answers,
        definitions: Definitions,
    ) -> None:
        self._fork = fork
        self._kill = kill
        self._answers = answers
        self._definitions = definitions
        self._isolation = Isolation()
        self._suspicions = Suspicions()
        self._lanes: dict[str, Lane] = {}
        self._retiring: set[Lane] = set()
        self._idle: dict[str, asyncio.TimerHandle] = {}
        self._tasks = Tasks()
        self._starts = Tasks()
        self._watching = True
        self._closing = False
        self._delay = 0.0
        self._all_gone = asyncio.Event()
        self._departure: Departure | None = None
        self._awaited = Awaited(self._abandon)

    # --- what the code host calls --------------------------------------------------------------------------

    async def open(self, without: Collection[str] = ()) -> None:
        """Fork the shared evaluator, with `open()` and `wakes()` of the sensors but those that are to be `take`n.
        Raises `HostError`."""
        self._awaited.begin(name for name in self._definitions.evaluated if name in without)
        lane = self._lane(_MAIN)
        lane.connect(await self._fork(_MAIN), watching=self._watching)

    def take(self, sensor: str) -> None:
        """Nobody else holds the sensor any more."""
        orders = self._awaited.take(sensor)
        if orders is not None and not self._closing:
            self._join(sensor)
            for order in orders:
                self.tick(order)

    async def leave(self, released: Callable[[str], None]) -> None:
        """Give the sensors away: each is `released` when its last look has ended, and its `close()` or its evaluator.
        Returns when all are. What is ordered and not begun is given back."""
        self._watching = False
        self._departure = Departure(self._definitions.evaluated, released)
        self._awaited.end()
        for lane in list(self._lanes.values()):
            if lane.forked is None:
                self._end(lane)
            else:
                lane.send(["watch", False])
                for sensor in lane.sensors:
                    self.settled(lane, sensor)
        held = {sensor for lane in self._lanes.values() for sensor in lane.sensors}
        self._departure.gone([name for name in self._definitions.evaluated if name not in held])
        await self._departure.ended.wait()

    def tick(self, order: TickOrder) -> None:
        """Begin an evaluation; it ends in exactly one final `tick_ended`, unless a checkpoint of it is refused."""
        if order.sensor in self._awaited and not self._closing:
            self._awaited.add(order)
            return
        name = order.sensor if order.sensor in self._isolation else _MAIN
        if self._closing or self._departure is not None:
            asyncio.get_running_loop().call_soon(self._abandon, order)
            return
        timer = self._idle.pop(name, None)
        if timer is not None:
            timer.cancel()
        lane = self._lane(name)
        lane.tick(order)
        self._ensure(lane)

    def tick_committed(self, tick_id: int, *, committed: bool, ledger_revision: int, next_tick_id: int | None) -> None:
        """The engine's word on an outcome or a checkpoint."""
        for lane in (*self._lanes.values(), *self._retiring):
            if lane.knows(tick_id):
                lane.committed(tick_id, committed, ledger_revision, next_tick_id)

    def cancel_tick(self, tick_id: int) -> None:
        """Nobody waits for this tick any more."""
        self._awaited.cancel(tick_id)
        for lane in self._lanes.values():
            lane.cancel(tick_id)

    async def watch(self, *, active: bool) -> None:
        """Let the sensors' `wakes()` run, or end them."""
        self._watching = active
        for lane in self._lanes.values():
            lane.send(["watch", active])

    async def close(self, grace: float) -> None:
        """End the evaluators: `close()` of the sensors gets `grace` seconds, at least one. Then SIGKILL."""
        self._closing = True
        self._tasks.cancel()
        for timer in self._idle.values():
            timer.cancel()
        for lane in self._lanes.values():
            lane.send(["close"])
        self._note_gone()
        try:
            async with asyncio.timeout(max(grace, _CLOSE_PATIENCE)):
                await self._starts.ended()
                await self._all_gone.wait()
        except TimeoutError:
            for lane in (*self._lanes.values(), *self._retiring):
                if lane.forked is not None:
                    self._kill(lane.forked.pid)
        for lane in (*self._lanes.values(), *self._retiring):
            self._end(lane)
        self._lanes.clear()
        self._retiring.clear()
        self._awaited.end()

    def evaluator_ended(self, pid: int, how: str) -> None:
        """A process is gone, by itself or by our hand."""
        for lane in (*self._lanes.values(), *self._retiring):
            if lane.forked is not None and lane.forked.pid == pid:
                self._died(lane, how)
                break
        self._note_gone()

    def status(self) -> dict[str, int]:
        """Process ids by label."""
        return {name: lane.forked.pid for name, lane in self._lanes.items() if lane.forked is not None}

    # --- lanes ---------------------------------------------------------------------------------------------

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            shared = name == _MAIN
            others = self._isolation, self._awaited
            held = [name for name in self._definitions.evaluated if not any(name in some for some in others)]
            lane = Lane(name, held if shared else [name], shared=shared, owner=self, answers=self._answers)
            self._lanes[name] = lane
        return lane

    def _join(self, sensor: str) -> None:
        """The shared evaluator holds this one too."""
        lane = self._lane(_MAIN)
        if sensor not in lane.sensors:
            lane.sensors.append(sensor)
            lane.send(["open", [[len(lane.sensors) - 1, sensor]], self._watching])
        self._ensure(lane)

    def _ensure(self, lane: Lane) -> None:
        """Fork the lane's evaluator if it has none."""
        if lane.forked is None and lane.starting is None and not self._closing and self._is_current(lane):
            delay = lane.not_before - asyncio.get_running_loop().time()
            if delay > 0:
                asyncio.get_running_loop().call_later(delay, self._ensure, lane)
            else:
                lane.starting = self._starts.spawn(self._start(lane))

    def _is_current(self, lane: Lane) -> bool:
        return self._lanes.get(lane.name) is lane

    async def _start(self, lane: Lane) -> None:
        try:
            forked = await self._fork(lane.name)
        except HostError as error:
            _log.warning("no evaluator could be forked", evaluator=lane.name, error=str(error))
            waiting, lane.waiting = lane.waiting, []
            for order in waiting:
                self._abandon(order)
            return
        finally:
            lane.starting = None
        if self._closing or not self._is_current(lane):
            self._kill(forked.pid)
            forked.sock.close()
            forked.page.close()
            return
        lane.connect(forked, watching=self._watching)
        for sensor in lane.sensors:  # what woke nobody meanwhile is found by a full look
            spec = self._definitions.sensor.get(sensor)
            if spec is not None and spec.wakes and self._watching:
                self._answers.woken(sensor, None)

    def _abandon(self, order: TickOrder) -> None:
        self._answers.tick_ended(TickEnd(order.tick_id, order.sensor, "abandoned"))

    # --- what lanes report ---------------------------------------------------------------------------------

    def silent(self, lane: Lane, seconds: float) -> None:
        """The shared evaluator's loop has been silent."""
        self._tasks.spawn(self._stalled(lane, seconds))

    async def _stalled(self, lane: Lane, seconds: float) -> None:
        remains = await lane.examine()
        if remains is None:
            lane.resume_heartbeat()
            return
        verdict = self._judge(lane, remains, threads=remains.threads, dead=False)
        message, stack = remains.blocked(seconds)
        if stack.lstrip().startswith(COLLECTING):  # it ends by itself, and hits whoever happens to be there
            _log.info("garbage collection held the evaluator", evaluator=lane.name, seconds=round(seconds, 3))
            lane.resume_heartbeat()
            return
        self._put_down(lane, verdict, message, Offence("blocked", seconds, stack))

    def held(self, lane: Lane, sensor: str, offence: Offence) -> None:
        """A sensor held the loop too long, and let go of it; one that does so again and again is set apart."""
        if lane.shared and self._isolation.held(sensor):
            self._put_down(lane, Verdict(culprit=sensor), "", offence)
        else:
            self._answers.sensor_offended(sensor, offence)

    def overdue(self, lane: Lane, tick_id: int, stack: str, *, blocked: bool) -> None:
        """A tick stays past its timeout, and nothing but the end of its process ends it."""
        flight = lane.flights.get(tick_id)
        if flight is not None:
            verdict = Verdict(culprit=flight.order.sensor, tick=tick_id)
            timeout = flight.order.timeout
            message = f"took longer than its timeout of {timeout:g} s, and had to be ended with its evaluator"
            self._put_down(lane, verdict, message, Offence("blocked" if blocked else "overdue", timeout, stack))

    def _put_down(self, lane: Lane, verdict: Verdict, message: str, offence: Offence) -> None:
        if lane.forked is not None:
            self._kill(lane.forked.pid)
            self._end(lane, verdict, message, offence)

    def _died(self, lane: Lane, how: str) -> None:
        """An evaluator ended by itself: on our word to close, through a sensor, or by someone's kill."""
        if lane in self._retiring or self._closing:
            self._retiring.discard(lane)
            self._end(lane)
            return
        lane.hear_rest()
        remains = lane.remains()
        thread = crashed_thread(remains.text)
        threads = frozenset({thread}) if thread and thread != remains.loop_thread else frozenset[int]()
        verdict = self._judge(lane, remains, threads=threads, dead=True)
        if verdict.culprit is None:
            _log.warning("an evaluator ended", evaluator=lane.name, how=how, suspects=list(verdict.suspects))
        self._end(lane, verdict, f"ended the evaluator: {how}", Offence("ended", 0.0, stack_of(remains.text, thread)))

    def _judge(self, lane: Lane, remains: Remains, *, threads: frozenset[int], dead: bool) -> Verdict:
        flights = {tick_id: flight.order.sensor for tick_id, flight in lane.flights.items()}
        numbers = dict(enumerate(lane.sensors))
        return judge(remains.page, flights, numbers, threads=threads, dead=dead)

    def _end(self, lane: Lane, verdict: Verdict = _NOBODY, message: str = "", offence: Offence = _CLOSED) -> None:
        """An evaluator is over: set apart whom the verdict names, give back the ticks, begin anew."""
        young = asyncio.get_running_loop().time() - lane.started_at < _YOUNG
        current = self._is_current(lane)
        if current:
            del self._lanes[lane.name]
        lane.disconnect()
        apart = frozenset(self._isolation)
        self._set_apart(verdict)
        flights, lane.flights = lane.flights, {}
        waiting, lane.waiting = lane.waiting, []
        if current and not self._closing and self._departure is None:
            self._replace(lane, backing_off=young and not verdict.culprit)
        for tick_id, flight in flights.items():
            if tick_id == verdict.tick and not flight.refused:
                self._answers.tick_ended(struck_end(flight.order, message, offence))
            elif not flight.refused:
                self._abandon(flight.order)
        for order in waiting:
            self._abandon(order)
        for told in verdict.offences(offence, moved=frozenset(self._isolation) - apart):
            self._answers.sensor_offended(*told)
        if self._departure is not None:
            self._departure.gone(lane.sensors)

    # --- another takes over --------------------------------------------------------------------------------

    def settled(self, lane: Lane, sensor: str) -> None:
        """No look of the sensor may be in flight any more: then it can be given away."""
        if self._departure is None or lane.looks_at(sensor) or not self._departure.ask(sensor):
            return
        lane.send(["release", sensor])
        asyncio.get_running_loop().call_later(_RELEASE_PATIENCE, self._release_late, lane, sensor)

    def released(self, lane: Lane, sensor: str) -> None:
        """`close()` has ended."""
        lane.sensors[lane.sensors.index(sensor)] = f"{sensor} (released)"
        if self._departure is not None:
            self._departure.gone([sensor])

    def _release_late(self, lane: Lane, sensor: str) -> None:
        if sensor in lane.sensors and lane.forked is not None and self._is_current(lane):
            _log.warning("close() does not end, and is ended with its evaluator", sensor=sensor)
            self._kill(lane.forked.pid)
            self._end(lane)

    def _set_apart(self, verdict: Verdict) -> None:
        if verdict.culprit is not None:
            self._isolation.caught(verdict.culprit)
        for sensor in self._suspicions.most(verdict.suspects):
            self._isolation.suspected(sensor)

    def _replace(self, lane: Lane, *, backing_off: bool) -> None:
        """Fork what is needed without waiting for a tick: the shared evaluator, and where `wakes()` must run."""
        self._delay = min(max(2 * self._delay, 0.1), _MAX_DELAY) if backing_off else 0.0
        now = asyncio.get_running_loop().time()
        if lane.shared:
            anew = self._lane(_MAIN)
            anew.not_before = now + self._delay
            self._ensure(anew)
        for sensor in self._isolation:
            spec = self._definitions.sensor.get(sensor)
            if spec is not None and spec.wakes:
                own = self._lane(sensor)
                own.not_before = now + max(1.0, self._delay) if sensor == lane.name else 0.0
                self._ensure(own)

    def gone(self, lane: Lane) -> None:
        """The stream is over; the host will say how the process ended. Where it lives on, it has lost its mind."""
        self._note_gone()
        if not self._closing and lane.forked is not None:
            self._tasks.spawn(self._kill_later(lane, lane.forked.pid))

    async def _kill_later(self, lane: Lane, pid: int) -> None:
        await asyncio.sleep(_EOF_PATIENCE)
        if lane.forked is not None and lane.forked.pid == pid:
            self._kill(pid)
            self._died(lane, "it closed its socket")

    def idle(self, lane: Lane, end: TickEnd) -> None:
        """A tick ended; an evaluator of its own may have served its time."""
        if lane.shared or end.status == "checkpoint" or not self._is_current(lane):
            return
        spec = self._definitions.sensor.get(end.sensor)
        if self._departure is None and self._isolation.behaved(end.sensor):
            self._retire(lane)
            self._join(end.sensor)
        elif self._departure is None and (spec is None or not spec.wakes):
            self._idle[lane.name] = asyncio.get_running_loop().call_later(IDLE, self._retire, lane)

    def _retire(self, lane: Lane) -> None:
        """End an evaluator that is not needed."""
        if self._is_current(lane):
            del self._lanes[lane.name]
            self._idle.pop(lane.name, None)
            self._retiring.add(lane)
            lane.send(["close"])

    def _note_gone(self) -> None:
        if self._closing and not any(lane.forked for lane in (*self._lanes.values(), *self._retiring)):
            self._all_gone.set()
