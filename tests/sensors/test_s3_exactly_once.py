"""Whatever happens to a bucket, its queue and the looks at it, each version that a look can meet is admitted once.

In virtual time, against the tests' own S3 and SQS called in line; `FRESHET_S3_SEQUENCES` says how many sequences.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections import Counter
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.sensors.s3_support import made, quick
from tests.sensors.support import NOW, Context, Killed, World
from tests.support.fake_s3 import BEGAN, FakeS3, Fault
from tests.support.paper_s3 import Note, PaperQueue, service
from tests.support.virtual import VirtualLoop

from freshet import RetryLater, RunRequest
from freshet_sensors import S3Sensor, s3_client, s3_look, s3_queue
from freshet_sensors.s3_client import S3Error

SEQUENCES = int(os.environ.get("FRESHET_S3_SEQUENCES", "240"))
KEYS = [f"{folder}{name}.csv" for folder in ("", "m n/", "z+ö/") for name in "ab"]
FAULTS: list[Fault] = [
    "slow_down", "cut", "xml", "timeout", "stall", "few", "no_token", "same_token", "end", "again", "reversed",
    "denied",
]  # fmt: skip
keys = st.sampled_from(KEYS)
End = tuple[str, int] | float | None
"""Of a look: whole, lost before or after so many commits, or cut off after so many seconds."""
ENDS: list[End] = [None, None, None, ("before", 0), ("before", 1), ("before", 2), ("after", 1), ("after", 2), 0.1, 1.0]
ends = st.sampled_from(ENDS)
hiding = st.sampled_from([0, 0, 0, 1, 3])
NO_NOTIFICATIONS = ['{"Service":"Amazon S3","Event":"s3:TestEvent"}', "{", '{"Records":[{"s3":{}}]}', "[1]"]
told = st.sampled_from(["told", "twice", "late", "lost"])


class Store(World):
    """What is committed, and whether each commit may be."""

    def __init__(self, machine: Buckets) -> None:
        super().__init__()
        self.machine = machine
        self.held = set[str]()
        self.trail: dict[str, list[str | None]] = {key: [None] for key in KEYS}
        self.dies_after: int | None = None

    def _commit(self, context: Context, pending: list[Any]) -> None:
        before, asked = self.entries, list[str]()
        super()._commit(context, pending)
        for one in pending:
            if isinstance(one, RunRequest) and one.run_key is not None:
                asked.append(self._admitted(one.run_key))
        fresh = [path for path, version in self.entries.items() if before.get(path) != version]
        assert sorted(asked) == sorted(fresh), "what goes into the ledger is asked for in the same commit, and once"
        for path in before.keys() - self.entries.keys():
            assert path in self.machine.absent, "forgotten, and it is there"
        for key, trail in self.trail.items():
            if (state := self.machine.known(key)) != trail[-1]:
                trail.append(state)
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after == 0:
                raise Killed

    def _admitted(self, run_key: str) -> str:
        name = run_key.partition("#")[0]
        key = self.machine.written[name]
        if run_key in self.held:
            assert key in self.machine.stale, "another version's run key, so this one would not run"
        else:
            assert run_key == name or self.machine.says_deleted
        self.held.add(run_key)
        return key


class Buckets(RuleBasedStateMachine):
    """A bucket of few keys and contents with few keys a page, a queue that is told of it, a sensor, and a model."""

    @initialize(
        order=st.sampled_from(["any", "key"]),
        deleted=st.sampled_from(["no", "runs", "retire"]),
        versions=st.booleans(),
        page=st.integers(1, 4),
    )
    def begin(self, order: str, deleted: str, versions: bool, page: int) -> None:
        self.options: dict[str, Any] = {
            "order": order,
            "versions": versions,
            "reconcile": "5m",
            "queue_url": "http://paper/q",
        }
        if deleted == "retire":
            self.options |= {"retire": True, "key": None}
        else:
            on = ["created", "modified", *(["deleted"] if deleted == "runs" else [])]
            self.options |= {"partitions": None, "key": None, "on": on}
        self.says_deleted = deleted != "no"
        self.loop = VirtualLoop()
        self.s3, self.queue = FakeS3(page=page), PaperQueue(self.deleted)
        self.patch = pytest.MonkeyPatch()
        opens = service(self.s3, self.queue)
        self.patch.setattr(s3_client, "open_client", opens)
        self.patch.setattr(s3_queue, "open_client", opens)
        self.world = Store(self)
        self.states: dict[str, list[str | None]] = {key: [None] for key in KEYS}
        """What stood at each key, one after the other."""
        self.written = dict[str, str]()
        """The run keys that there may be, and their keys."""
        self.stale = set[str]()
        """Keys of which a listing may show what was before, or has shown it to the ledger."""
        self.absent = set(KEYS)
        """Keys at which nothing stands, or has not at some time in this look."""
        self.too_early = list[str]()
        """Keys whose messages were deleted before they were committed."""
        self.seconds = 0
        self.clean = False
        self.start()

    # --- the sensor's life -------------------------------------------------------------------------------------

    def start(self) -> None:
        self.sensor: S3Sensor = made("http://paper", **self.options)
        self.waiting = True
        self.hints: set[str] | None = None
        self.waking = self.loop.create_task(self.wake())
        self.loop.do(asyncio.sleep(0))

    def end(self) -> None:
        self.waking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self.waking)

    async def wake(self) -> None:
        wakes = self.sensor.wakes()
        try:
            async for hints in wakes:
                if not self.waiting:
                    self.waiting, self.hints = True, set[str]()
                if self.hints is not None:
                    self.hints |= {*(hints or ())}
        finally:
            await wakes.aclose()  # type: ignore[attr-defined]

    def look(self, hints: set[str] | None, end: End = None, *, dry: bool = False) -> None:
        """As the daemon does: what has failed is followed by a full look."""
        kind, count = end if isinstance(end, tuple) else (None, 0)
        self.world.dies_after = count if kind == "after" else None
        now = NOW + timedelta(seconds=self.loop.time())

        async def go() -> None:
            async with asyncio.timeout(end if isinstance(end, float) else 120):
                before = count if kind == "before" else None
                await self.world.tick(self.sensor, hints, now=now, dry_run=dry, kill_after=before)

        self.clean = False
        try:
            self.loop.do(go())
            self.clean = not self.s3.faults
        except (Killed, RetryLater, TimeoutError):
            self.waiting, self.hints = True, None
        except S3Error as error:
            assert "NoSuchBucket" in str(error) or "AccessDenied" in str(error), error
            self.waiting, self.hints = True, None
        self.world.dies_after = None
        if hints is None:
            self.s3.now += 1
        self.absent = {key for key in KEYS if key not in self.s3.objects}
        self.stale = {key for key in self.stale if not self.settled(key)}

    def settled(self, key: str) -> bool:
        """Whether listings show what is there, and the ledger holds that."""
        one = self.s3.objects.get(key)
        return (one is None or self.s3.shown(key) is one) and self.known(key) == self.states[key][-1]

    # --- what the world does -----------------------------------------------------------------------------------

    def put(self, key: str, text: str, hidden: int, age: int, how: str) -> None:
        self.seconds += 1
        at = BEGAN + timedelta(seconds=self.seconds) - timedelta(days=age)
        self.s3.put(key, text, at=at, hidden=hidden)
        if hidden:
            self.stale.add(key)
        one = self.s3.objects[key]
        versioned = self.options["versions"]
        suffix = one.version if versioned else f"{at:%Y-%m-%dT%H:%M:%SZ}"
        self.written[f"lake/{key}@{one.etag}+{suffix}"] = key
        self.states[key].append(f"{one.etag} {one.version}" if versioned else one.etag)
        self.tell(key, how, "ObjectCreated:Put")

    def remove(self, key: str, how: str) -> None:
        if key in self.s3.objects:
            self.s3.delete(key)
            self.absent.add(key)
            self.states[key].append(None)
            self.tell(key, how, "ObjectRemoved:Delete")

    def tell(self, key: str, how: str, event: str) -> None:
        encoded = quote_plus(key, safe="/")
        record = {"eventName": event, "s3": {"bucket": {"name": "lake"}, "object": {"key": encoded}}}
        about = (key, len(self.states[key]) - 1, len(self.world.trail[key]) - 1)
        for _ in range({"lost": 0, "twice": 2}.get(how, 1)):
            after = random.uniform(60, 300) if how == "late" else random.uniform(0, 5)
            self.loop.do(self.send(json.dumps({"Records": [record]}), about, after))

    async def send(self, body: str, about: Any, after: float = 0.0) -> None:
        self.queue.send(body, about, after=after)

    def known(self, key: str) -> str | None:
        """What the ledger holds of a key, as `states` says it."""
        version = self.world.entries.get(key)
        return None if version is None else version.split(" ", 2)[2]

    def deleted(self, note: Note) -> None:
        """The sensor has deleted a message: a commit holds what it led to, or what came after."""
        if note.about is not None:
            key, state, commit = note.about
            since = set(self.states[key][state:])
            later = None in since and self.options.get("retire")  # as keys share partitions, a full look sees to it
            if not later and not since & set(self.world.trail[key][commit:]):
                self.too_early.append(key)  # an error raised here would be taken for the queue's

    @rule(
        writes=st.lists(
            st.tuples(keys, st.sampled_from("aabc"), hiding, st.integers(0, 9), told), min_size=1, max_size=4
        )
    )
    def write(self, writes: list[tuple[str, str, int, int, str]]) -> None:
        """New objects and overwrites, also with bytes that were there before, and as old as an upload of many parts
        shows itself; listings may show them late."""
        for one in writes:
            self.put(*one)

    @rule(key=keys, how=told)
    def delete(self, key: str, how: str) -> None:
        self.remove(key, how)

    @rule(faults=st.lists(st.sampled_from([*FAULTS, None, None]), min_size=1, max_size=4), heads=st.integers(0, 4))
    def trouble(self, faults: list[Fault | None], heads: int) -> None:
        self.s3.faults.extend(faults)
        for _ in range(heads):
            self.s3.head_faults.append("503_head")

    @rule(faults=st.lists(st.sampled_from(["throttled", "reset", "denied"]), max_size=4), silent=st.booleans())
    def trouble_with_the_queue(self, faults: list[Any], silent: bool) -> None:
        self.queue.faults.extend(faults)
        self.queue.silent = silent
        self.loop.do(self.send(random.choice(NO_NOTIFICATIONS), None))

    @rule()
    def the_bucket_goes_for_a_while(self) -> None:
        self.s3.there = False
        self.look(None)
        self.look({*KEYS})
        self.s3.there = True

    @rule(seconds=st.sampled_from([1, 25, 100, 400]))
    def time_passes(self, seconds: int) -> None:
        self.loop.do(asyncio.sleep(seconds))

    # --- what the daemon does ----------------------------------------------------------------------------------

    @rule(end=ends, key=st.none() | keys, delay=st.sampled_from([0.02, 0.07, 0.2]), text=st.sampled_from(["d", None]))
    def look_at_all(self, end: End, key: str | None, delay: float, text: str | None) -> None:
        """And something may happen meanwhile."""
        handle = None
        if key is not None:
            one = key

            def meanwhile() -> None:
                self.loop.create_task(later())

            async def later() -> None:
                before, self.loop.do = self.loop.do, asyncio.ensure_future  # type: ignore[method-assign, assignment]
                try:
                    self.remove(one, "lost") if text is None else self.put(one, text, 0, 0, "lost")
                finally:
                    self.loop.do = before  # type: ignore[method-assign]

            handle = self.loop.call_later(delay, meanwhile)
        self.look(None, end)
        if handle is not None:
            handle.cancel()

    @precondition(lambda self: self.waiting)
    @rule(end=ends)
    def answer_the_wake(self, end: End) -> None:
        hints, self.waiting, self.hints = self.hints, False, set[str]()
        self.look(hints, end)

    @rule(hints=st.lists(keys, min_size=1, max_size=3))
    def hints_by_hand(self, hints: list[str]) -> None:
        self.look({*hints})

    @rule(hints=st.none() | st.lists(keys, min_size=1, max_size=2))
    def dry_run(self, hints: list[str] | None) -> None:
        before = (self.world.commits, self.world.cursor, self.world.entries, len(self.world.runs))
        self.look(None if hints is None else {*hints}, dry=True)
        assert before == (self.world.commits, self.world.cursor, self.world.entries, len(self.world.runs))

    @rule()
    def restart(self) -> None:
        """Another evaluator: nothing of the sensor's memory is left."""
        self.end()
        self.start()

    # --- what must hold ----------------------------------------------------------------------------------------

    @invariant()
    def no_message_is_deleted_before_the_commit(self) -> None:
        assert not getattr(self, "too_early", [])

    @invariant()
    def once(self) -> None:
        """No version is admitted twice, unless it was said to have gone in between."""
        if hasattr(self, "world") and not self.says_deleted:
            assert max(Counter(key.partition("#")[0] for key in self.world.held).values(), default=0) <= 1

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.quiet()
        finally:
            self.end()
            self.loop.close()
            self.patch.undo()

    def quiet(self) -> None:
        """All is well and shown at last: what is there has been admitted, and ledger and queue hold nothing else."""
        for faults in (self.s3.faults, self.s3.head_faults, self.queue.faults):
            faults.clear()
        self.s3.there, self.queue.silent = True, False
        self.s3.now += 10
        for _ in range(3):  # under order="key" a full look is due after five minutes
            self.loop.do(asyncio.sleep(310))
            self.look(None)
            assert self.clean, "a look fails though all is well"
        begun = self.loop.time()
        while self.queue.notes:
            assert self.loop.time() - begun < 2000, "messages stay in the queue"
            while not self.waiting and self.loop.time() - begun < 2000:
                self.loop.do(asyncio.sleep(10))
            self.answer_the_wake(None)
            self.loop.do(asyncio.sleep(1))
        self.no_message_is_deleted_before_the_commit()
        shown = {key: one.etag for key, one in self.s3.objects.items()}
        assert {key: (self.known(key) or "").partition(" ")[0] for key in self.world.entries} == shown
        for key, etag in shown.items():
            assert any(one.startswith(f"lake/{key}@{etag}") for one in self.world.held)
        if self.options.get("retire"):
            assert set(self.world.partitions) == {key[:-4].rpartition("/")[2] for key in shown}


def test_each_version_is_admitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, retries=2)
    monkeypatch.setattr(s3_look, "_PIECE", 2)
    run_state_machine_as_test(
        Buckets,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
