"""Requests that come to nothing: the log says so, once while it stays so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.engine.rig import rig

from freshet import RunRequest, job, sensor

pytestmark = pytest.mark.anyio


@job
def work() -> None: ...


async def test_run_keys_that_are_taken_are_told_once_for_a_tick_and_again_when_that_changes(tmp_path: Path) -> None:
    wanted = ["a", "b", "c"]

    @sensor(interval="10s", target=work)
    async def orders(ctx: Any) -> AsyncIterator[RunRequest]:
        for key in wanted:
            yield RunRequest(run_key=key)
            await ctx.checkpoint()

    with capture_logs() as logs:
        async with rig(tmp_path, [work, orders]) as made:
            runs = {run.run_key: run.id for run in await made.runs()}
            await made.advance(35)  # three more looks
            wanted.remove("a")
            await made.advance(10)
    told = [line["event"] for line in logs if "dropped" in line["event"]]
    assert told == [
        f"3 dropped: their run keys are taken, e.g. a by run {runs['a']}",
        f"2 dropped: their run keys are taken, e.g. b by run {runs['b']}",
    ]


async def test_what_gives_way_to_a_run_under_way_is_told(tmp_path: Path) -> None:
    @sensor(interval="10s", target=work, overlap="skip")
    def orders(ctx: Any) -> RunRequest:
        return RunRequest()

    with capture_logs() as logs:
        async with rig(tmp_path, [work, orders], duration=lambda step: 100.0) as made:
            (run,) = await made.runs()
            await made.advance(35)
    told = [line["event"] for line in logs if "dropped" in line["event"]]
    assert told == [f"1 dropped: they gave way to others, e.g. to run {run.id}"]
