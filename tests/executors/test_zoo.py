"""The zoo: bad steps again and again, and healthy ones beside them that do not notice."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import pytest
from tests.executors.hosting import Hosting, hosting
from tests.executors.zoo import ANIMALS, PLUGIN, Animal

from freshet.executors.base import StepEnd
from freshet.host.journal import ATTEMPT_MAX
from freshet.host.process import children_of

pytestmark = pytest.mark.anyio

_GRACE = 0.1
_SLACK = 0.05
"""Seconds that a step beside a bad one may take longer than twice the time it takes alone: the machine's cores are
shared with it, and with other tests. A code host that is held up shows with hundreds of milliseconds."""


async def test_the_zoo(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=3, plugin=PLUGIN) as site:
        alone = _usual([await _healthy(site) for _ in range(15)])
        for animal in ANIMALS:
            await _visit(site, animal, alone, megabytes=20)
        await _nothing_is_left(site)


@pytest.mark.slow
@pytest.mark.parametrize("animal", ANIMALS, ids=lambda animal: animal.name)
async def test_each_twenty_times(tmp_path: Path, animal: Animal) -> None:
    async with hosting(tmp_path, workers=3, plugin=PLUGIN) as site:
        alone = _usual([await _healthy(site) for _ in range(15)])
        for _ in range(20):
            await _visit(site, animal, alone, megabytes=100)
        await _nothing_is_left(site)


def _usual(seconds: list[float]) -> float:
    """The lower quartile: what others do on the machine is in the upper ones."""
    return statistics.quantiles(seconds, n=4)[0]


async def _visit(site: Hosting, animal: Animal, alone: float, *, megabytes: int) -> None:
    params = {"megabytes": megabytes} if animal.loud else {}
    run_id, _ = await site.begun(animal.name, params=params)
    beside = [await _healthy(site) for _ in range(5)]
    if animal.canceled:
        site.host.cancel(run_id, 0, grace=_GRACE)
    ending = asyncio.ensure_future(site.end(run_id))
    while not ending.done():
        beside.append(await _healthy(site))
    end = await ending
    assert end.outcome == animal.outcome, (animal, end)
    assert (end.error.type if end.error and animal.error else None) == animal.error, (animal, end)
    assert _usual(beside) <= 2 * alone + _SLACK, (animal, alone, sorted(beside))
    _journal_is_whole_and_bounded(site, run_id, animal)


async def _healthy(site: Hosting) -> float:
    begun = time.perf_counter()
    end: StepEnd = await site.run("healthy")
    assert end.outcome == "succeeded", end
    return time.perf_counter() - begun


def _journal_is_whole_and_bounded(site: Hosting, run_id: int, animal: Animal) -> None:
    path = site.state_dir / "runs" / str(run_id) / "journal.jsonl"
    assert path.stat().st_size < 2 * ATTEMPT_MAX + 2**20
    lines = site.journal(run_id)
    if animal.loud:
        texts = [line["text"] for line in lines if line["stream"] in ("stdout", "stderr")]
        assert "the last line" in texts[-2:]
        cut = [line for line in lines if line["stream"] == "cut"]
        assert cut[0]["message"].startswith("there is too much")
        kept = sum(len(text) + 1 for text in texts)
        assert cut[1]["fields"]["bytes"] + kept >= 10_000_000
        assert cut[1]["fields"]["lines"] > 0


async def _nothing_is_left(site: Hosting) -> None:
    """Below the host are only workers and the evaluator, none of them busy."""
    async with asyncio.timeout(10):
        while any(map(children_of, children_of(site.pid))):
            await asyncio.sleep(0.01)
    assert site.host.status().workers_busy == 0
