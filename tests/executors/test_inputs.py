"""What a step is given of many partitions: read when asked for, by file where they are very many."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.executors.hosting import Hosting, hosting

from freshet.executors.base import StepEnd
from freshet.executors.input_files import MOST_IN_FRAME
from freshet.host.frames import MAX_FRAME
from freshet.io import write_value
from freshet.store.records import ValueRef

pytestmark = pytest.mark.anyio

PLUGIN = f"""
import json
import orjson
from pathlib import Path
from freshet import DynamicPartitions, TimePartitions, asset, job

keys = DynamicPartitions("keys")

@asset(partitions=keys)
def raw():
    ...

@asset
def one():
    ...

@asset
def first(raw: dict[str, int]):
    return raw["k0"]

@asset
def each(raw):
    broken = []
    for key in raw:
        try:
            raw[key]
        except Exception as error:
            broken.append(str(error))
    return broken

@asset
def handed_on(raw):
    return raw

@asset
def whole(ctx, raw, one=None):
    looked_at = [raw["k0"], raw.get("k1"), "k2" in raw, len(raw)]
    there = [path.name for path in Path("state/runs", str(ctx.run_id)).glob("inputs*")]
    missing = ctx.missing_inputs.get("raw", ())
    return [
        looked_at, sum(raw.values()), [*raw][-1], there, one,
        [len(missing), getattr(missing, "more", 0), *missing[:1]],
    ]

@asset
def dawdles(ctx, raw):
    ...

@asset(partitions=TimePartitions("daily", start="2026-01-01"))
def day(ctx):
    return [str(ctx.partition.window.start), str(ctx.partition.window.end), dict(ctx.partition.parts)]

@job
def nothing():
    ...

@job
def says_much(ctx, spare: int):
    end = {{"op": "ended", "value": None, "metadata": {{"text": ""}}, "error": None}}
    ctx.metadata(text="x" * ({MAX_FRAME} - len(orjson.dumps(end)) - spare))
"""


@asynccontextmanager
async def site(tmp_path: Path) -> AsyncGenerator[Hosting]:
    async with hosting(tmp_path, plugin=PLUGIN) as made:
        yield made


def kept(site: Hosting, count: int) -> dict[str | None, ValueRef]:
    """So many references, to three values in turn: 0, 1 and 2."""
    refs = [_keep(site, number, f"k{number}") for number in range(3)]
    return {f"k{number}": refs[number % 3] for number in range(count)}


def _keep(site: Hosting, value: object, key: str) -> ValueRef:
    ref = write_value(
        value,
        values_dir=site.state_dir / "values",
        asset="raw",
        partition_key=key,
        run_id=1,
        attempt=1,
        io=None,
    )
    return ValueRef(ref.path, ref.io, ref.size, ref.digest)


async def test_a_value_that_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        refs = kept(here, 3)
        (here.state_dir / "values" / refs["k1"].path).write_bytes(b"7")
        (here.state_dir / "values" / refs["k2"].path).unlink()
        assert here.value(await here.asset("first", inputs={"raw": refs})) == 0
        damaged, gone = here.value(await here.asset("each", inputs={"raw": refs}))
        assert damaged.startswith(
            "the value of 'raw' in partition 'k1' cannot be read: the value raw/k1/1-1.json is dam"
        )
        assert gone.startswith("the value of 'raw' in partition 'k2' cannot be read: the value raw/k2/1-1.json is gone")
        failed = await here.asset("handed_on", inputs={"raw": refs})
        assert failed.error is not None
        assert failed.error.type == "ValueFormatError"
        assert "'raw' in partition 'k1'" in failed.error.message


async def test_a_set_without_a_zone_has_the_configurations(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN, timezone="Europe/Berlin") as here:
        start, end, parts = here.value(await here.asset("day", key="2026-03-29"))
        assert (start, end, parts) == ("2026-03-29 00:00:00+01:00", "2026-03-30 00:00:00+02:00", {})


async def test_an_input_handed_on_is_a_dict(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        assert here.value(await here.asset("handed_on", inputs={"raw": kept(here, 3)})) == {"k0": 0, "k1": 1, "k2": 2}


@pytest.mark.parametrize("count", [MOST_IN_FRAME - 1, MOST_IN_FRAME, 200_000])
async def test_many_inputs(tmp_path: Path, count: int) -> None:
    async with site(tmp_path) as here:
        refs, lacking = kept(here, count), tuple(f"m{number}" for number in range(count))
        one: dict[str | None, ValueRef] = {None: refs["k2"]}
        before = time.thread_time()
        run_id = here.launch(
            "whole", kind="asset", inputs={"raw": refs, "one": one}, missing={"raw": lacking, "one": ()}
        )
        await asyncio.wait_for(here.answers.received[run_id], 60)
        spent = time.thread_time() - before
        looked_at, total, last, files, single, missing = here.value(await here.end(run_id))
        assert looked_at == [0, 1, True, count]
        assert total == sum(number % 3 for number in range(count))
        assert last == f"k{count - 1}"
        assert files == (["inputs-0-1.jsonl"] if count >= MOST_IN_FRAME else [])
        assert single == 2
        assert missing == [min(count, 5_000), max(0, count - 5_000), "m0"]
        assert spent < 0.1, "the event loop's own work does not grow with the inputs"
        await _until_gone(here, run_id)


async def _until_gone(here: Hosting, run_id: int) -> None:
    async with asyncio.timeout(20):
        while list((here.state_dir / "runs" / str(run_id)).glob("inputs*")):
            await asyncio.sleep(0.002)


async def test_a_step_is_canceled_while_its_inputs_are_written(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        run_id = here.launch("dawdles", kind="asset", inputs={"raw": kept(here, 100_000)})
        here.host.cancel(run_id, 0, grace=0)
        assert (await here.end(run_id)).outcome == "canceled"
        assert f"received {run_id}" not in here.answers.told
        await _until_gone(here, run_id)
        assert (await here.asset("dawdles", inputs={"raw": kept(here, 10_000)})).outcome == "succeeded"


async def test_the_host_is_closed_while_inputs_are_written(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        run_id = here.launch("dawdles", kind="asset", inputs={"raw": kept(here, 100_000)})
    ended = await here.end(run_id)
    assert ended.outcome == "not_received"
    await _until_gone(here, run_id)


async def test_inputs_that_cannot_be_written_are_a_failure_that_says_so(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        refs = kept(here, MOST_IN_FRAME + 1)
        (here.state_dir / "runs").mkdir(exist_ok=True)
        run_id = here.launch("nothing")
        await here.end(run_id)
        (here.state_dir / "runs" / str(run_id + 1)).write_text("in the way")
        failed = await here.asset("dawdles", inputs={"raw": refs})
        assert (failed.run_id, failed.outcome) == (run_id + 1, "failed")
        assert failed.error is not None
        assert "the inputs cannot be handed on" in failed.error.message
        assert (await here.run("nothing")).outcome == "succeeded"


@pytest.mark.parametrize("spare", [-1, 0, 50])
async def test_an_end_too_large_to_be_told_is_a_failure_and_the_host_lives(tmp_path: Path, spare: int) -> None:
    async with site(tmp_path) as here:
        pid = here.pid
        failed: StepEnd = await here.run("says_much", params={"spare": spare})
        assert (failed.outcome, failed.metadata) == ("failed", {})
        assert failed.error is not None
        assert failed.error.type == "HostError"
        assert f"over the limit of {MAX_FRAME:,}" in failed.error.message
        states = [line["message"] for line in here.journal(failed.run_id) if line["stream"] == "state"]
        assert states[-1] == "failed"
        assert (await here.run("nothing")).outcome == "succeeded"
        assert here.pid == pid
        os.kill(pid, 0)
