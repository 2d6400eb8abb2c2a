"""Workers that are kept: `Process(reuse=True)`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.executors.hosting import hosting

pytestmark = pytest.mark.anyio

PLUGIN = """
import asyncio, os, signal, sys, threading, time
from pathlib import Path
from freshet import Process, asset, job

seen = []

@asset(executor=Process(reuse=True))
def counted(ctx):
    seen.append(ctx.run_id)
    print("number", len(seen))
    ctx.metadata(n=len(seen))
    return [os.getpid(), len(seen)]

@asset(executor=Process(reuse=True, steps=3))
def thrice():
    return os.getpid()

@asset(executor=Process(reuse=True, growth=20))
def grows():
    seen.append(bytearray(30 << 20))
    return os.getpid()

@asset(executor=Process(reuse=True))
async def awaited():
    await asyncio.sleep(0)
    return os.getpid()

@job(executor=Process(reuse=True))
def dies(how: str):
    if how == "exit":
        os._exit(3)
    if how == "raise":
        raise ValueError("not today")
    if how == "sys.exit":
        sys.exit(4)
    if how == "fork":
        if os.fork() == 0:
            return
    if how == "leaves":
        import subprocess
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
    if how == "closes":
        os.close(1)

@job(executor=Process(reuse=True))
def moves():
    os.chdir("/")
    os.environ["LEFT"] = "1"
    del os.environ["PATH"]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

@asset(executor=Process(reuse=True))
def around():
    return [os.getcwd(), "LEFT" in os.environ, "PATH" in os.environ, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL]

@job(executor=Process(reuse=True), timeout="150ms")
def hangs():
    time.sleep(60)

@job(executor=Process(reuse=True))
def waits(path: str):
    Path(path).touch()
    time.sleep(60)
"""


async def test_one_worker_runs_one_step_after_another_each_with_its_own_journal(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=1, plugin=PLUGIN) as host:
        runs = [host.launch("counted", kind="asset") for _ in range(20)]
        ends = [await host.end(run) for run in runs]
        values = [host.value(end) for end in ends]
        assert [number for _, number in values] == list(range(1, 21)) and len({pid for pid, _ in values}) == 1
        assert [end.metadata["n"] for end in ends] == list(range(1, 21))
        for number, run in enumerate(runs, 1):
            assert host.texts(run, "stdout") == [f"number {number}"]
            states = [line["message"] for line in host.journal(run) if line["stream"] == "state"]
            assert states == ["started", "succeeded"]


async def test_as_many_at_once_as_there_may_be_workers_and_no_more(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=2, plugin=PLUGIN) as host:
        pids = {host.value(await host.end(run))[0] for run in [host.launch("counted", kind="asset") for _ in range(50)]}
        assert 1 <= len(pids) <= 2


async def test_an_async_def_has_a_loop_of_its_own_each_time(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=1, plugin=PLUGIN) as host:
        assert len({host.value(await host.asset("awaited")) for _ in range(3)}) == 1


async def test_a_worker_ends_after_its_steps_and_when_it_has_grown(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=1, plugin=PLUGIN) as host:
        pids = [host.value(await host.asset("thrice")) for _ in range(7)]
        assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4] == pids[5] != pids[6]
        assert host.value(await host.asset("grows")) == pids[6]  # grown by 30 MiB since its first step: the last
        assert host.value(await host.asset("thrice")) != pids[6]


async def test_a_step_that_dies_costs_itself_alone(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=1, plugin=PLUGIN) as host:
        for how, outcome, said in [
            ("exit", "died", "exit status 3"),
            ("raise", "failed", "not today"),
            ("sys.exit", "failed", "sys.exit(4)"),
        ]:
            runs = [host.launch("counted", kind="asset"), host.launch("dies", params={"how": how})]
            runs += [host.launch("counted", kind="asset") for _ in range(3)]
            ends = [await host.end(run) for run in runs]
            assert [end.outcome for end in ends] == ["succeeded", outcome, "succeeded", "succeeded", "succeeded"]
            assert ends[1].error is not None and said in ends[1].error.message
        for how in ("fork", "leaves", "closes"):
            before = host.value(await host.asset("counted"))[0]
            assert (await host.run("dies", params={"how": how})).outcome == "succeeded"
            assert host.value(await host.asset("counted"))[0] == before


async def test_the_next_step_finds_folder_environment_and_signals_as_they_were(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=1, plugin=PLUGIN) as host:
        await host.run("moves")
        assert host.value(await host.asset("around")) == [str(tmp_path), False, True, True]


async def test_a_timeout_ends_the_worker_and_says_where_the_step_stood(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=1, plugin=PLUGIN) as host:
        before = host.value(await host.asset("counted"))[0]
        end = await host.run("hangs")
        assert end.outcome == "failed" and end.error is not None and end.error.type == "TimeoutError"
        assert "plugin.py" in end.error.traceback
        assert host.value(await host.asset("counted"))[0] != before


async def test_cancel_ends_what_runs_and_what_waits(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=1, plugin=PLUGIN) as host:
        running, _ = await host.begun("waits", params={"path": str(tmp_path / "there")})
        waiting = host.launch("counted", kind="asset")
        host.host.cancel(waiting, 0, grace=1)
        assert (await host.end(waiting)).outcome == "canceled"
        host.host.cancel(running, 0, grace=1)
        assert (await host.end(running)).outcome == "canceled"
        assert (await host.asset("counted")).outcome == "succeeded"


async def test_at_the_end_of_the_host_what_runs_is_interrupted_and_what_waits_was_not_received(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=1, plugin=PLUGIN) as host:
        running, _ = await host.begun("waits", params={"path": str(tmp_path / "there")})
        waiting = host.launch("counted", kind="asset")
        await host.host.close(grace=0.1)
        assert (await host.end(running)).outcome == "interrupted"
        assert (await host.end(waiting)).outcome == "not_received"


async def test_a_host_that_cannot_fork_keeps_workers_too(tmp_path: Path) -> None:
    threaded = PLUGIN + "\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
    async with hosting(tmp_path, workers=1, plugin=threaded) as host:
        assert host.report.start_method == "spawn"
        runs = [host.launch("counted", kind="asset") for _ in range(5)]
        assert [host.value(await asyncio.wait_for(host.end(run), 30))[1] for run in runs] == [1, 2, 3, 4, 5]
