"""The host is killed while the daemon starts: it comes up all the same, or says why not; it never hangs or breaks."""

from __future__ import annotations

import random
import time

import pytest
from tests.crash.scenario import River
from tests.support import processes
from tests.support.daemon import Daemon, DaemonEnded

_TURNS = 6


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_host_killed_at_the_start(river: River, seed: int) -> None:
    """At moments between the host's start and the daemon's first second; the last one is when it is ready."""
    rng = random.Random(seed)
    for turn in range(_TURNS):
        river.land(*(f"good-{turn}-{n}" for n in range(4)))
        daemon = river.site.start()
        daemon.wait_until(lambda now=daemon: host_of(now), "its host is there")  # type: ignore[misc]
        if turn == _TURNS - 1:
            daemon.ready()
        else:
            time.sleep(rng.uniform(0.0, 0.5))  # the moment is what is drawn at random: nothing is waited for
        if (host := host_of(daemon)) is not None:
            processes.kill([host])
        try:
            daemon.ready()
            daemon.wait_until(lambda now=daemon: has_host(now), "it has a host", within=10)  # type: ignore[misc]
        except DaemonEnded:
            assert turn < _TURNS - 1, "a daemon that is ready outlives its host"
            assert daemon.wait_ended() == 1
            assert "error: the code host" in daemon.log_text()
        else:
            daemon.kill()
        assert "Traceback (most recent call last)" not in daemon.log_text()
    daemon = river.site.start().ready()
    river.land("good-last")
    daemon.wait_until(lambda: river.made(daemon, "raw") and daemon.idle(), "all is read")
    assert daemon.stop() == 0


def host_of(daemon: Daemon) -> int | None:
    """The process id of its host."""
    found = [pid for pid in processes.children(daemon.pid) if "freshet.host" in processes.command_line(pid)]
    return found[0] if found else None


def has_host(daemon: Daemon) -> bool:
    """Whether it knows of one, and no problem with it."""
    status = daemon.client.status()
    return status.host is not None and status.problem is None
