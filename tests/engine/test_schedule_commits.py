"""What schedules decide together, and what becomes of the slots that were reserved for it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig

from freshet import DynamicPartitions, RunRequest, Schedule, asset, job, schedule
from freshet.engine.clock import SimulatedClock
from freshet.store.schedules import commit_schedules

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


async def test_a_body_that_names_a_key_that_is_not_there_gives_the_slot_back(tmp_path: Path) -> None:
    @asset(partitions=DynamicPartitions("keys"))
    def each() -> int:
        return 1

    @job
    def note() -> None:
        return None

    @schedule(cron="* * * * *", target=each)
    def minutely(ctx: Any) -> Any:
        return RunRequest(partition="nowhere")

    clock = SimulatedClock(start=MIDNIGHT)
    async with rig(tmp_path, [each, note, minutely], clock=clock, workers=2) as one:
        await one.advance(300)
        (view,) = one.control.schedules()
        assert view.failures > 2 and "nowhere" in str(view.last_error)
        assert one.engine.launcher.queue.in_use == 0
        await one.control.call("note", {})
        await one.settle()
        assert await one.states() == ["succeeded"]


async def test_what_many_schedules_catch_up_is_committed_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @job
    def note() -> None:
        return None

    clock, sizes = SimulatedClock(start=MIDNIGHT), list[int]()
    each = [
        Schedule(f"s{n}", cron="* * * * *", target=note, misfire="all", max_catch_up=49) for n in range(7)
    ]  # and the one that is due now
    things = [note, *each]
    async with rig(tmp_path, things, clock=clock):
        pass
    await clock.advance(2 * 3600, _nothing)

    def counted(*args: Any, **options: Any) -> Any:
        result = commit_schedules(*args, **options)
        sizes.append(len(result.runs))
        return result

    monkeypatch.setattr("freshet.engine.timetable.commit_schedules", counted)
    async with rig(tmp_path, things, clock=clock) as one:
        assert len(await one.runs()) == 7 * 50
        assert sizes == [200, 150]


async def _nothing() -> None:
    return None
