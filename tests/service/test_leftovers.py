"""KillMode=process: systemd ends the main process alone, and after its end nothing but detached work is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import processes
from tests.support.daemon import Daemon, Site, site_at, wait_until
from tests.support.manager import handed, listening

PLUGIN = '''
import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from freshet import Command, Process, Sensor, job

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def begun(name):
    Path(f"{name}.part").write_text(str(os.getpid()))
    Path(f"{name}.part").rename(f"{name}.begun")


@job(executor="detached")
def detached():
    """With a child, which is its to end."""
    subprocess.Popen(SLEEP)
    begun("detached")
    while not Path("go").exists():
        time.sleep(0.01)


@job
def fresh():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(SLEEP, start_new_session=True)
    begun("fresh")
    time.sleep(600)


@job(executor=Process(reuse=True))
def kept():
    subprocess.Popen(SLEEP)
    begun("kept")
    time.sleep(600)


@job(executor="inline")
async def inline():
    begun("inline")
    await asyncio.sleep(600)


@job(executor=Command(["sh", "-c", "echo $$ > command.part; mv command.part command.begun; sleep 600 & wait"]))
def command(): ...


@job
def mapped(ctx):
    ctx.map(item, [1, 2])


def item(number):
    begun(f"item{number}")
    time.sleep(600)


class Watching(Sensor):
    async def evaluate(self, ctx):
        if not Path("sensor.begun").exists():
            subprocess.Popen(SLEEP)
            begun("sensor")
        await asyncio.sleep(600)


Watching("watching", interval="1s", timeout="1h")
'''
JOBS = ("detached", "fresh", "kept", "inline", "command", "mapped")
BEGUN = ("detached", "fresh", "kept", "inline", "command", "item1", "item2", "sensor")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty one with a job in each way that a step may run."""
    with site_at(tmp_path / "site", plugins={"plugin.py": PLUGIN}, workers=6, grace="300ms") as made:
        yield made


def running(site: Site, daemon: Daemon) -> set[int]:
    """Start all of them, and wait until they run; the processes of the detached one."""
    for job in JOBS:
        assert site.cli("call", job).returncode == 0
    daemon.wait_until(lambda: all((site.folder / f"{one}.begun").exists() for one in BEGUN), "all have begun")
    detached = int((site.folder / "detached.begun").read_text())
    return {detached, *processes.descendants(detached)}


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_nothing_but_detached_work_is_left(site: Site, end: str) -> None:
    """The next daemon takes it over, and has its result; it did not run twice."""
    with listening() as held:
        first = site.start(handed(held), pass_fds=(held.fileno(),)).ready()
        detached = running(site, first)
        assert len(detached) == 2 and len(site.processes()) > len(detached) + len(JOBS)
        if end == "kill":
            first.kill()
        else:
            assert first.stop() == 0
        wait_until(lambda: _others(site, detached) == [], "only detached work is left")
        assert set(site.processes()) >= detached
        second = site.start(handed(held), pass_fds=(held.fileno(),)).ready()
        (site.folder / "go").touch()
        (run,) = second.runs("detached")
        second.wait_until(lambda: second.client.run(run.id).state == "succeeded", "its result is taken")
        found = second.client.run(run.id)
        assert (found.interruptions, found.steps[0].attempt) == (0, 1)
        assert {one.interruptions for one in second.runs() if one.id != run.id} == {1}


def _others(site: Site, detached: set[int]) -> list[str]:
    """What is left beside detached work: its guardians, above it, are part of it."""
    above = {pid for pid in site.processes() if detached & set(processes.descendants(pid))}
    return [processes.command_line(pid) for pid in site.processes() if pid not in detached | above]
