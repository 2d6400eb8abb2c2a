"""How everything ends: in order, by kill -9 of the host, by kill -9 of the daemon; and what a new daemon does first."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.executors.hosting import Recorder, hosting, step_to_run, write_plugins
from tests.support import processes

from freshet.executors import codehost
from freshet.executors.base import TickOrder
from freshet.executors.children import ChildrenLock
from freshet.executors.codehost import ProcessCodeHost
from freshet.executors.hostsettings import HostSettings
from freshet.executors.strays import MARK, kill_until_gone, marked

pytestmark = pytest.mark.anyio

PLUGIN = """
import os, signal, subprocess, sys, time
from pathlib import Path
from freshet import job, sensor

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]

@job
def sleeps():
    time.sleep(600)

@job
def with_children(ctx):
    near = subprocess.Popen(SLEEP)
    far = subprocess.Popen(SLEEP, start_new_session=True)
    Path(f"children.{ctx.run_id}").write_text(f"{near.pid} {far.pid} ")
    time.sleep(600)

@job
def polite():
    def stop(number, frame):
        Path("stopped").write_text("in order")
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    Path("ready").touch()
    time.sleep(600)

@job
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path("deaf").touch()
    time.sleep(600)

@job
def nothing():
    pass

@sensor(interval="1h")
def looks(ctx):
    time.sleep(600)
"""


async def until(condition: object, seconds: float = 20) -> None:
    """Wait for a condition."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def children_named(folder: Path) -> list[int]:
    """The processes that `with_children` has started, once all are named."""
    texts = [file.read_text() for file in folder.glob("children.*")]
    return [int(pid) for text in texts if text.endswith(" ") for pid in text.split()]


async def test_close_asks_then_kills_and_tells_all(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=3, plugin=PLUGIN) as site:
        host_pid = site.pid
        asked, _ = await site.begun("polite")
        deaf, _ = await site.begun("deaf")
        await until(lambda: (tmp_path / "ready").exists() and (tmp_path / "deaf").exists())
        below = processes.descendants(host_pid)
        await site.host.close(grace=0.3)
        assert (await site.end(asked)).outcome == "interrupted"
        assert (await site.end(deaf)).outcome == "interrupted"
        assert (tmp_path / "stopped").exists()
        assert not any(processes.alive(pid) for pid in [host_pid, *below])
        assert not site.answers.lost.done()
        late = site.launch("nothing")
        assert (await site.end(late)).outcome == "not_received"


async def test_close_twice_and_before_start(tmp_path: Path) -> None:
    settings = HostSettings(tmp_path, tmp_path, tmp_path)
    host = ProcessCodeHost(settings, Recorder())
    await host.close(grace=0)
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        await site.host.close(grace=0)


async def test_kill_of_the_host_interrupts_its_steps_and_leaves_nothing(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        await site.run("nothing")
        first, pid = await site.begun("with_children")
        second, _ = await site.begun("sleeps")
        await until(lambda: len(children_named(tmp_path)) == 2)
        below = [*processes.descendants(site.pid), *children_named(tmp_path)]
        site.host.tick(TickOrder(5, "looks", None, 0, None, 0.0, 600.0))
        os.kill(site.pid, signal.SIGKILL)
        reason = await asyncio.wait_for(site.answers.lost, 20)
        assert reason == "killed by SIGKILL"
        assert site.answers.told[-1] == "lost"
        assert [(await site.end(run)).outcome for run in (first, second)] == ["interrupted", "interrupted"]
        assert [(end.tick_id, end.status) for end in site.answers.ticks] == [(5, "abandoned")]
        assert pid in below
        await until(lambda: not any(processes.alive(pid) for pid in below))


async def test_a_step_that_a_dead_host_cannot_have_got_was_not_received(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while what the host left behind is still being looked for."""
    sweeping, swept = threading.Event(), threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        sweeping.set()
        swept.wait(20)
        return kill_until_gone(*args, **options)

    async with hosting(tmp_path, plugin=PLUGIN) as site:
        begun, _ = await site.begun("sleeps")
        monkeypatch.setattr(codehost, "kill_until_gone", slow)
        os.kill(site.pid, signal.SIGKILL)
        await until(sweeping.is_set)
        late = site.launch("nothing")
        swept.set()
        ends = [await site.end(run) for run in (begun, late)]
        assert [end.outcome for end in ends] == ["interrupted", "not_received"]
        await asyncio.wait_for(site.answers.lost, 20)
        assert site.answers.told[-1] == "lost", "then only are others launched"
        assert (await site.run("nothing")).outcome == "not_received"


async def test_a_worker_killed_from_outside_has_died(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        run_id, pid = await site.begun("sleeps")
        os.kill(pid, signal.SIGKILL)
        end = await site.end(run_id)
        assert end.outcome == "died"
        assert end.error is not None
        assert "SIGKILL" in end.error.message


async def test_waiting_workers_that_are_killed_are_replaced(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        await until(lambda: site.host.status().workers_idle == 4)
        evaluators = set(site.host.status().evaluators.values())
        waiting = [pid for pid in processes.children(site.pid) if pid not in evaluators]
        assert len(waiting) == 4
        processes.kill(waiting)
        at_once = [(await site.run("nothing")).outcome for _ in range(5)]
        assert set(at_once) <= {"succeeded", "not_received"}
        assert at_once[-1] == "succeeded"  # four were dead, so the fifth found another
        await until(lambda: len(processes.children(site.pid)) == 5)
        assert not {*processes.children(site.pid)} & {*waiting}


DAEMON = """
import asyncio, sys
from pathlib import Path
from tests.executors.hosting import hosting

async def main():
    folder = Path(sys.argv[1])
    async with hosting(folder, workers=2) as site:
        await site.begun("with_children")
        await site.begun("with_children")
        (folder / "up").touch()
        await asyncio.sleep(600)

asyncio.run(main())
"""


def start(code: str, argument: Path, **options: Any) -> subprocess.Popen[str]:
    """A Python process that runs `code`, from the repository's root."""
    command = [sys.executable, "-c", code, str(argument)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], text=True, **options)


async def test_kill_of_the_daemon_leaves_nothing(tmp_path: Path) -> None:
    write_plugins(tmp_path / "plugins", plugin=PLUGIN)
    daemon = start(DAEMON, tmp_path)
    try:
        await until((tmp_path / "up").exists)
        await until(lambda: len(children_named(tmp_path)) == 4)
        below = [*processes.descendants(daemon.pid), *children_named(tmp_path)]
        assert len(below) >= 8  # host, evaluator, two workers with two children each, those that wait
        daemon.kill()
        daemon.wait()
        await until(lambda: not any(processes.alive(pid) for pid in below), seconds=5)
    finally:
        daemon.kill()
        daemon.wait()


async def test_kill_of_daemon_and_host_together_is_cleaned_up_by_the_next(tmp_path: Path) -> None:
    write_plugins(tmp_path / "plugins", plugin=PLUGIN)
    daemon = start(DAEMON, tmp_path)
    try:
        await until(lambda: len(children_named(tmp_path)) == 4)
        (host,) = processes.children(daemon.pid)
        below = [*processes.descendants(daemon.pid), *children_named(tmp_path)]
        os.kill(host, signal.SIGSTOP)  # it cannot clean up any more
        daemon.kill()
        daemon.wait()
        os.kill(host, signal.SIGKILL)
        lock = await ChildrenLock.acquire(tmp_path / "state", patience=0.1)
        assert not any(processes.alive(pid) for pid in below)
        lock.close()
    finally:
        daemon.kill()
        daemon.wait()


HOLDER = """
import os, sys, time
os.open(sys.argv[1], os.O_RDWR)
import fcntl
fcntl.flock(3, fcntl.LOCK_SH)
print("held", flush=True)
time.sleep(600)
"""


async def test_who_still_holds_the_lock_is_killed_after_a_while(tmp_path: Path) -> None:
    (await ChildrenLock.acquire(tmp_path)).close()
    holder = start(HOLDER, tmp_path / "children.lock", stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "held\n"
    begun = time.monotonic()
    lock = await ChildrenLock.acquire(tmp_path, patience=0.2)
    assert time.monotonic() - begun >= 0.2
    assert holder.wait() == -signal.SIGKILL
    lock.close()


async def test_a_marked_stray_is_killed_and_others_are_not(tmp_path: Path) -> None:
    lock = await ChildrenLock.acquire(tmp_path)
    sleep = "import time; time.sleep(600)"
    ours = start(sleep, tmp_path, env={**os.environ, MARK: f"{lock.token}.x"})
    other = start(sleep, tmp_path, env={**os.environ, MARK: "another.x"})
    try:
        lock.close()
        await until(lambda: marked(lock.token) == [ours.pid] and marked("another") == [other.pid])
        again = await ChildrenLock.acquire(tmp_path)
        assert again.token == lock.token
        assert ours.wait() == -signal.SIGKILL
        assert other.poll() is None
        again.close()
    finally:
        for each in (ours, other):
            each.kill()
            each.wait()


async def test_a_step_too_large_for_a_frame_fails_alone(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        too_much = await site.run("nothing", params={"x": "y" * (65 * 1024 * 1024)})
        assert too_much.outcome == "failed"
        assert too_much.error is not None
        assert "over the limit" in too_much.error.message
        large = await site.run("nothing", params={"x": "y" * (5 * 1024 * 1024)})  # more than any socket buffer holds
        assert large.error is not None
        assert "no parameter 'x'" in large.error.message


async def test_canceled_before_it_got_to_a_worker(tmp_path: Path) -> None:
    noisy = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    async with hosting(tmp_path, workers=1, a=PLUGIN, noisy=noisy) as site:
        step = step_to_run("sleeps")
        site.answers.expect(step.run_id)
        site.host.run(step)  # spawned workers are still loading
        site.host.cancel(step.run_id, 0, grace=5)
        assert (await site.end(step.run_id)).outcome == "canceled"
