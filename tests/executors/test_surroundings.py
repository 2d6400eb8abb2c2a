"""What a step runs in, and which failures are final, through a real code host."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.executors.hosting import hosting

pytestmark = pytest.mark.anyio

PLUGIN = """
import os, subprocess, sys, time
from freshet import GiveUp, Retries, RetryLater, asset, job

class Busy(ConnectionError): ...

@asset(env={"SEEN": "yes", "TZ": "Asia/Tokyo"}, cwd="work")
def somewhere():
    below = subprocess.run(["sh", "-c", "echo $SEEN; pwd"], capture_output=True, text=True, check=True).stdout.split()
    return [os.getcwd(), *below, time.tzname[0]]

@asset
def usual():
    return [os.environ.get("SEEN"), os.getcwd()]

@asset(cwd="gone")
def nowhere():
    return 1

@job(memory="64MiB")
def modest():
    held = b"x" * (8 << 20)
    time.sleep(0.1)

@job(memory="64MiB")
def greedy():
    fill()

def fill():
    held = []
    while len(held) < 4096:
        held.append(b"x" * (1 << 20))
        time.sleep(0.002)

@job(memory="96MiB", retries=Retries(3, on=ConnectionError))
def many_mouths():
    if os.environ.get("HELD") is None:
        for _ in range(3):
            subprocess.Popen([sys.executable, "-c", "import time; held = b'x' * (48 << 20); time.sleep(600)"])
    time.sleep(600)

@job(memory="256MiB")
def shares():
    held = b"x" * (100 << 20)
    for _ in range(4):
        if os.fork() == 0:
            time.sleep(0.3)
            os._exit(0)
    for _ in range(4):
        os.wait()

@job(retries=Retries(3, on=(Busy, "TimeoutError")))
def picky(ctx, how: str):
    match how:
        case "busy": raise Busy("try again")
        case "broken": raise ValueError("no good")
        case "later": raise RetryLater("soon", after="1s")
        case "never": raise GiveUp("no")
        case "dies": os._exit(3)

@job(timeout="100ms", retries=Retries(3, on=OSError))
def slow():
    time.sleep(600)

@job(timeout="100ms", retries=Retries(3, on="ValueError"))
def slow_and_no_more():
    time.sleep(600)

@job(retries=Retries(3, on=Exception))
def dies():
    os._exit(3)
"""


async def test_env_and_cwd_hold_for_the_step_and_all_below_it(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        work = str(tmp_path / "work")
        assert site.value(await site.asset("somewhere")) == [work, "yes", work, "JST"]
        assert site.value(await site.asset("usual")) == [None, str(tmp_path)]


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        end = await site.asset("nowhere")
        assert end.error is not None
        assert (end.outcome, end.error.type) == ("failed", "NoSuchFolder")
        assert "'gone' cannot be entered: No such file or directory" in end.error.message


async def test_beyond_its_memory_a_step_ends_where_it_stood(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        assert (await site.run("modest")).outcome == "succeeded"
        run_id, _ = await site.begun("greedy")
        end = await site.end(run_id)
        assert end.error is not None
        assert (end.outcome, end.error.type, end.final) == ("failed", "MemoryError", False)
        assert "64 MiB are allowed" in end.error.message
        assert "in fill" in end.error.traceback
        assert 64 < float(end.error.message.split("had ")[1].split(" MiB")[0]) < 4096
        last = site.journal(run_id)[-1]
        assert (last["message"], last["fields"]["error"]["type"]) == ("failed", "MemoryError")


async def test_memory_is_that_of_all_processes_together_and_what_they_share_counts_once(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        many, shared = await asyncio.gather(site.run("many_mouths"), site.run("shares"))
        assert many.error is not None
        assert (many.outcome, many.error.type, many.final) == ("failed", "MemoryError", True)
        assert shared.outcome == "succeeded", shared


@pytest.mark.parametrize(
    ("how", "outcome", "final", "after"),
    [
        ("busy", "failed", False, None),
        ("broken", "failed", True, None),
        ("later", "failed", False, 1.0),
        ("never", "failed", True, None),
        ("dies", "died", True, None),
    ],
)
async def test_only_what_is_named_is_tried_again(
    tmp_path: Path, how: str, outcome: str, final: bool, after: float | None
) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        end = await site.run("picky", params={"how": how})
        assert (end.outcome, end.final, end.after) == (outcome, final, after)


async def test_a_timeout_and_a_death_have_names_too(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        ends = await asyncio.gather(*(site.run(name) for name in ("slow", "slow_and_no_more", "dies")))
        assert [(end.outcome, end.final) for end in ends] == [("failed", False), ("failed", True), ("died", False)]
