"""Steps with `executor="inline"`: many in one loop, and what one of them can do to the others."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.executors.hosting import Hosting, hosting, ref

pytestmark = pytest.mark.anyio

PLUGIN = """
import asyncio, logging, os, re, signal, sys, time
from freshet import Inline, asset, job

together = []

@asset(executor="inline")
async def first(ctx):
    print("here", ctx.run_id)
    logging.getLogger("lib").warning("careful %s", ctx.run_id)
    await asyncio.sleep(0)
    print("still", ctx.run_id)
    ctx.metadata(pid=os.getpid())
    return {"run": ctx.run_id}

@asset(executor="inline")
async def second(first):
    return first["run"]

@job(executor="inline")
async def meets(n: int):
    together.append(1)
    while len(together) < n:
        await asyncio.sleep(0.001)

@job(executor="inline")
async def child():
    async def inner():
        print("from a task")
    left = asyncio.create_task(asyncio.sleep(1000))
    await asyncio.gather(inner(), asyncio.to_thread(print, "from a thread"))

@job(executor="inline")
async def tasks():
    await asyncio.sleep(0)
    print(len([one for one in asyncio.all_tasks() if "sleep" in repr(one.get_coro())]))

@job(executor="inline")
async def waits():
    await asyncio.sleep(1000)

@job(executor="inline")
async def stubborn():
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass

@job(executor="inline", timeout="100ms")
async def slow():
    await asyncio.sleep(1000)

@job(executor=Inline(stall="200ms"))
async def sleeps():
    time.sleep(1000)

@job(executor=Inline(stall="200ms"))
async def computes():
    try:
        while True:
            sum(range(1000))
    except Exception:
        print("swallowed")

@job(executor=Inline(stall="200ms"))
async def holds():
    re.match("(a+)+$", "a" * 50 + "b")  # never gives the interpreter away

@job(executor="inline")
async def dies(how: str):
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "raise":
        raise ValueError("not today")
    if how == "sys.exit":
        sys.exit(4)
    if how == "callback":
        asyncio.get_running_loop().call_soon(sys.exit, 5)
    if how == "task":
        async def leaves():
            sys.exit(6)
        asyncio.create_task(leaves())
        await asyncio.sleep(0.01)
"""


RESOURCES = """
import asyncio
from freshet import asset, resource

@resource
async def client():
    pump = asyncio.create_task(asyncio.sleep(1000))
    yield {"pump": pump, "loop": id(asyncio.get_running_loop())}
    pump.cancel()
    open("closed", "w").close()

@resource
def plain(client):
    return [client["loop"]]

@asset(executor="inline")
async def uses(client, plain):
    await asyncio.sleep(0)
    return [id(client), plain[0] == id(asyncio.get_running_loop()), client["pump"].done()]
"""


async def test_resources_are_opened_once_in_the_loop_of_all_and_closed_at_the_end(tmp_path: Path) -> None:
    async with hosting(tmp_path, resources=RESOURCES) as host:
        ends = [await host.end(run) for run in [host.launch("uses", kind="asset") for _ in range(20)]]
        values = [host.value(end) for end in ends]
        assert len({client for client, *_ in values}) == 1 and all(one[1:] == [True, False] for one in values)
        assert not (tmp_path / "closed").exists()
        await host.host.close(grace=2)
        assert (tmp_path / "closed").exists()


async def _pid(host: Hosting) -> int:
    pid: int = (await host.asset("first")).metadata["pid"]
    return pid


async def test_values_logs_and_prints_are_each_steps_own(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        runs = [host.launch("first", kind="asset") for _ in range(30)]
        ends = [await host.end(run) for run in runs]
        for run, end in zip(runs, ends, strict=True):
            assert host.value(end) == {"run": run} and end.version
            assert host.texts(run, "stdout") == [f"here {run}", f"still {run}"]
            logged = [line["message"] for line in host.journal(run) if line["stream"] == "log"]
            assert logged == [f"careful {run}"]
        below = await host.asset("second", inputs={"first": ref(ends[3])})
        assert host.value(below) == runs[3]


async def test_many_wait_at_once_in_one_process(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=1, plugin=PLUGIN) as host:
        runs = [host.launch("meets", params={"n": 200}) for _ in range(200)]
        assert {(await host.end(run)).outcome for run in runs} == {"succeeded"}


async def test_what_a_step_starts_is_its_own_and_ends_with_it(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        run = host.launch("child")
        await host.end(run)
        assert sorted(host.texts(run, "stdout")) == ["from a task", "from a thread"]
        run = host.launch("tasks")
        await host.end(run)
        assert host.texts(run, "stdout") == ["0"]


async def test_cancel_cancels_the_task_and_nothing_else(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        before = await _pid(host)
        one, other = (await host.begun("waits"))[0], (await host.begun("waits"))[0]
        host.host.cancel(one, 0, grace=5)
        assert (await host.end(one)).outcome == "canceled"
        assert not host.answers.ended[other].done() and await _pid(host) == before


async def test_a_step_that_will_not_be_canceled_is_left_behind_with_its_process(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        before = await _pid(host)
        bad, good = (await host.begun("stubborn"))[0], (await host.begun("waits"))[0]
        host.host.cancel(bad, 0, grace=0.1)
        assert (await host.end(bad)).outcome == "canceled"
        assert await _pid(host) != before  # new steps go to a new process
        host.host.cancel(good, 0, grace=1)
        assert (await host.end(good)).outcome == "canceled"  # the one that went on was not harmed


async def test_a_timeout_says_where_the_step_waited(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        end = await host.run("slow")
        assert end.outcome == "failed" and end.error is not None and end.error.type == "TimeoutError"
        assert "plugin.py" in end.error.traceback and "sleep(1000)" in end.error.traceback


@pytest.mark.parametrize("name", ["sleeps", "computes"])
async def test_a_step_that_holds_the_loop_is_ended_where_it_stands_and_the_others_go_on(
    tmp_path: Path, name: str
) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        before = await _pid(host)
        good, _ = await host.begun("waits")
        began = time.monotonic()
        end = await host.run(name)
        assert time.monotonic() - began < 10
        assert end.outcome == "failed" and end.error is not None and end.error.type == "LoopHeld"
        assert "200ms" in end.error.message and f"in {name}" in end.error.traceback
        assert await _pid(host) == before and not host.answers.ended[good].done()


async def test_what_holds_the_interpreter_costs_the_process_and_the_others_are_interrupted(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        before = await _pid(host)
        good, _ = await host.begun("waits")
        end = await host.run("holds")
        assert end.outcome == "failed" and end.error is not None and end.error.type == "TimeoutError"
        assert "plugin.py" in end.error.traceback and "holds" in end.error.traceback
        assert (await host.end(good)).outcome == "interrupted"
        assert await _pid(host) != before


@pytest.mark.parametrize("how", ["exit", "segfault"])
async def test_who_kills_the_process_has_died_and_the_others_are_interrupted(tmp_path: Path, how: str) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        good, _ = await host.begun("waits")
        end = await host.run("dies", params={"how": how})
        assert end.outcome == "died" and end.error is not None
        assert (await host.end(good)).outcome == "interrupted"
        assert (await host.asset("first")).outcome == "succeeded"


async def test_other_ends_are_the_steps_own(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        before = await _pid(host)
        for how, outcome in [
            ("raise", "failed"),
            ("sys.exit", "failed"),
            ("callback", "succeeded"),
            ("task", "succeeded"),
        ]:
            end = await host.run("dies", params={"how": how})
            assert end.outcome == outcome, (how, end)
        assert await _pid(host) == before


async def test_at_the_end_of_the_host_steps_are_interrupted(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        soft, hard = (await host.begun("waits"))[0], (await host.begun("stubborn"))[0]
        await host.host.close(grace=0.2)
        assert [(await host.end(run)).outcome for run in (soft, hard)] == ["interrupted", "interrupted"]


async def test_a_host_that_cannot_fork_has_one_too(tmp_path: Path) -> None:
    threaded = PLUGIN + "\nimport threading\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
    async with hosting(tmp_path, plugin=threaded) as host:
        assert host.report.start_method == "spawn"
        assert (await host.run("meets", params={"n": 1})).outcome == "succeeded"
