"""More files than the kernel can tell of, a watcher that is held back, and kill -9 in the middle: each file once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.daemon import Daemon, Site

PLUGIN = """
import time
from freshet import DynamicPartitions, asset
from freshet_sensors import FileSensor

batches = DynamicPartitions("batches")
landing = FileSensor(
    "landing", path="inbox", pattern="**/{batch}.txt", partitions=batches, target="raw", settle="0s", interval="1h"
)


@asset(partitions=batches)
def raw(ctx) -> None:
    time.sleep(3600)
"""
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")
MakeSite = Callable[..., Site]


@pytest.mark.slow
@pytest.mark.skipif(not QUEUE.exists(), reason="inotify is Linux's")
def test_a_burst_while_the_watcher_is_held_back_loses_nothing_and_doubles_nothing(make_site: MakeSite) -> None:
    """With an interval of an hour: only what the overflow itself wakes brings the files in."""
    files = max(20_000, int(QUEUE.read_text()) + 1_000)
    site = make_site(PLUGIN, grace="0s")
    daemon = site.start().ready()
    daemon.wait_until(lambda: daemon.client.sensor("landing").ticks > 0, "the first look")
    land(site.inbox / "first.txt")
    daemon.wait_until(lambda: partitions(daemon) == 1, "it watches")
    evaluator = evaluator_of(daemon)
    os.kill(evaluator, signal.SIGSTOP)
    for number in range(files):  # nobody reads meanwhile: the kernel's queue overflows
        os.close(os.open(site.inbox / f"{number}.txt", os.O_CREAT | os.O_WRONLY))
    os.kill(evaluator, signal.SIGCONT)
    daemon.wait_until(lambda: partitions(daemon) > files // 10, "some are admitted", within=120)
    daemon.kill()
    daemon = site.start().ready()
    before = partitions(daemon)
    assert before < files, "it was killed in the middle"
    daemon.wait_until(lambda: partitions(daemon) == files + 1, "all are admitted", within=240)
    runs = daemon.runs("raw")
    assert len(runs) == len({run.partition for run in runs}) == files + 1
    ticks = daemon.client.history("landing", limit=500)
    assert max(tick.runs for tick in ticks) <= 250, "each commit is small"
    daemon.kill()


def land(path: Path) -> None:
    """A file that is whole whenever somebody looks."""
    part = path.with_name(path.name + ".part")
    part.write_text("x")
    part.rename(path)


def partitions(daemon: Daemon) -> int:
    """How many keys there are."""
    return daemon.client.asset("raw").counts.partitions


def evaluator_of(daemon: Daemon) -> int:
    """The process that holds the watch."""
    host = daemon.client.status().host
    assert host is not None
    (pid,) = set(host.evaluators.values())
    return pid
