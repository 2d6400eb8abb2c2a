"""Outcomes that no frame, and numbers that no table, can hold: the look has failed, and the others go on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.evaluator.harness import world

from freshet.host.frames import MAX_FRAME

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (f"pad {MAX_FRAME}", "over the limit"),
        (f"heavy {MAX_FRAME // 4096}", "over the limit"),
        (f"priority {2**63}", "RunRequest(priority) must lie within"),
    ],
)
async def test_what_cannot_be_sent_fails_the_look(tmp_path: Path, hint: str, said: str) -> None:
    async with world(tmp_path) as made, asyncio.timeout(20):
        end = await made.tick("commanded", hint)
        assert end.status == "failed"
        assert end.error is not None
        assert said in end.error.message
        assert (await made.tick("bystander")).status == "ok"
        assert made.zygote.forks == 1


@pytest.mark.parametrize("hints", [(), ("checkpoint",)])
async def test_a_checkpoint_that_cannot_be_sent_leaves_nothing_behind(tmp_path: Path, hints: tuple[str, ...]) -> None:
    async with world(tmp_path) as made, asyncio.timeout(30):
        assert (await made.tick("swallows", *hints)).status == "ok"
        keys = [run.run_key for end in made.commits for run in end.runs if end.sensor == "swallows"]
        assert keys == [str(number) for number in range(5000)]
        assert made.cursors["swallows"] == "short"


@pytest.mark.parametrize("cursor", ["x" * MAX_FRAME, 2**70, "\ud800"], ids=["size", "number", "text"])
async def test_an_order_that_cannot_be_sent_fails_the_look(tmp_path: Path, cursor: Any) -> None:
    async with world(tmp_path) as made, asyncio.timeout(20):
        end = await made.tick("commanded", cursor=cursor, dry_run=True)
        assert end.status == "failed"
        assert end.error is not None
        assert (await made.tick("bystander")).status == "ok"
        assert made.zygote.forks == 1
