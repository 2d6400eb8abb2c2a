"""A year in virtual time, with edits, failures and a restart each month: everything once, and no object is kept."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.reload.edits import edited, load

from freshet import Freshness, Retries, RunRequest, asset, job, schedule, sensor
from freshet.engine.clock import SimulatedClock

pytestmark = pytest.mark.anyio

_DAY = 86_400.0
_MONTHS, _WEEKS, _DAYS = 13, 4, 7
_GROWTH = 500
"""Objects that a month may leave behind: caches that have not all been filled before."""


def things(edits: int, attempts: Counter[int], failures: Counter[int]) -> tuple[Any, ...]:
    """The plugin after so many edits. Each seventh look fails at first, and each fifth run."""

    @sensor(name="looking", interval="6h")
    async def looking(ctx: Any) -> Any:
        number = ctx.cursor or 0
        failures[number] += 1
        if number % 7 == 6 and failures[number] == 1:
            raise ValueError("no luck")
        ctx.cursor = number + 1
        yield RunRequest("note", run_key=str(number), params={"number": number})
        if number % 10 == 9:
            yield RunRequest("note", run_key=str(number - 1), params={"number": number - 1})

    @job(name="note", retries=Retries(2, delay="1m"), overlap="allow")
    def note(number: int) -> None:
        attempts[number] += 1
        if number % 5 == 4 and attempts[number] == 1:
            raise ValueError(f"not at first, after {edits} edits")

    @asset(name="report", freshness=Freshness(within="26h"))  # the longest day has 25
    def report() -> int:
        return edits

    @schedule(name="mornings", cron="0 6 * * *", timezone="Europe/Berlin", target="report")
    def mornings() -> None: ...

    return looking, note, report, mornings


async def test_a_year_of_edits_failures_and_restarts(tmp_path: Path) -> None:
    clock, attempts, failures = SimulatedClock(), Counter[int](), Counter[int]()
    edits, objects, made = 0, list[int](), tuple[Any, ...]()
    for _ in range(_MONTHS):
        async with edited(tmp_path, *things(edits, attempts, failures), clock=clock) as one:
            for week in range(_WEEKS):
                await one.advance(_DAYS * _DAY)
                broken = week == 2
                edits += 1
                made = things(edits, attempts, failures)
                assert await load(one, *made, *(made[:1] if broken else ())) == ("refused" if broken else "changed")
            assert not set(await one.states()) & {"failed", "interrupted", "canceled"}
        made = ()
        del one
        gc.collect()
        objects.append(len(gc.get_objects()))
    async with edited(tmp_path, *things(edits, attempts, failures), clock=clock) as one:
        await one.advance(3600)
        asked = Counter(run.run_key for run in await one.runs("note"))
        cursor = one.engine.ticks.sensors["looking"].row.cursor
        assert cursor > 0.8 * 4 * _MONTHS * _WEEKS * _DAYS, "it has looked all the time; each seventh look cost another"
        assert asked == Counter(str(number) for number in range(cursor))
        assert all(attempts[number] == 1 + (number % 5 == 4) for number in range(cursor))
        assert len(await one.runs("report")) == _MONTHS * _WEEKS * _DAYS
        assert not await one.events("freshness_lapsed")
    assert objects[-1] - objects[2] < _GROWTH * (_MONTHS - 3), objects
