"""Whatever happens to a bucket, and to looks at it, each version of an object that a look can meet is admitted once."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.sensors.s3_support import made, quick
from tests.sensors.support import NOW, Killed, World
from tests.support.fake_s3 import BEGAN, FakeS3, fake_s3

from freshet import RetryLater
from freshet_sensors import s3_look

KEYS = [f"{folder}{name}.csv" for folder in ("", "m/", "z/") for name in "abcd"]
keys = st.sampled_from(KEYS)
FAULTS = ["slow_down", "cut", "xml", "few", "no_token", "same_token", "reversed"]


class Buckets(RuleBasedStateMachine):
    """A bucket with three keys a page, pieces of two, and a model: what must have been admitted when all is quiet."""

    order: Any = "any"

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.s3: FakeS3 = self.run(self.stack.enter_async_context(fake_s3()))
        self.s3.page = 3
        self.world = World()
        self.etags = dict[str, int]()
        self.owed = set[str]()
        self.sensor = self.fresh()

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def fresh(self) -> Any:
        return made(self.s3.url, order=self.order, reconcile="1h", partitions=None, key=None)

    @rule(key=keys, hidden=st.sampled_from([0, 0, 1, 3]), age=st.integers(0, 10_000))
    def write(self, key: str, hidden: int, age: int) -> None:
        """A new object or an overwrite, with any time; a listing may show it late. Each text is new."""
        self.etags[key] = self.etags.get(key, 0) + 1
        at = BEGAN.fromtimestamp(BEGAN.timestamp() - age, BEGAN.tzinfo)
        self.s3.put(key, f"{key} {self.etags[key]}", at=at, hidden=hidden)

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.s3.delete(key)

    @rule(faults=st.lists(st.sampled_from([*FAULTS, None]), max_size=4))
    def trouble(self, faults: list[Any]) -> None:
        self.s3.faults.extend(faults)

    @rule(key=keys)
    def busy(self, key: str) -> None:
        self.s3.head_faults.append("503_head")

    @rule(lost=st.none() | st.integers(0, 3))
    def look(self, lost: int | None) -> None:
        """A full look, whose outcome may be lost after some commits."""
        self.tick(None, lost)
        self.s3.now += 1

    @rule(hints=st.lists(keys, min_size=1, max_size=3), lost=st.none() | st.integers(0, 1))
    def hinted(self, hints: list[str], lost: int | None) -> None:
        self.tick(hints, lost)

    @rule()
    def restart(self) -> None:
        """Another evaluator: nothing of the sensor's memory is left."""
        self.run(self.sensor.close())
        self.sensor = self.fresh()

    def tick(self, hints: list[str] | None, lost: int | None) -> None:
        with contextlib.suppress(Killed, RetryLater):
            self.run(self.world.tick(self.sensor, hints, kill_after=lost))

    @invariant()
    def once(self) -> None:
        """No version twice, ever."""
        if hasattr(self, "world"):
            assert len(self.world.run_keys) == len(set(self.world.run_keys))

    def teardown(self) -> None:
        """All is quiet and shown at last: what is there has been admitted, and the ledger holds nothing else."""
        if not hasattr(self, "world"):
            return
        try:
            self.s3.faults.clear()
            self.s3.head_faults.clear()
            self.s3.now += 10
            for hours in (2, 4):  # under order="key" a full look is due
                self.run(self.world.tick(self.sensor, now=NOW + timedelta(hours=hours)))
            there = {f"lake/{key}@{one.etag}" for key, one in self.s3.objects.items()}
            assert there <= set(self.world.run_keys)
            assert set(self.world.entries) == set(self.s3.objects)
            self.once()
        finally:
            self.run(self.sensor.close())
            self.run(self.stack.aclose())
            self.runner.close()


class ByKey(Buckets):
    order = "key"


@pytest.mark.parametrize("machine", [Buckets, ByKey])
def test_each_version_is_admitted_once(machine: type[Buckets], monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, retries=2)
    monkeypatch.setattr(s3_look, "_PIECE", 2)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=8,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
