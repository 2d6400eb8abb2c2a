"""Steps that end their process, or will not let it end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from tests.support import processes
from tests.support.daemon import Daemon, Site

from freshet.http.models import MaterializeBody, RunAnswer

PLUGIN = """
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from freshet import Retries, asset


@asset(retries=Retries(1, delay="20ms"))
def leaves() -> int:
    print("about to leave", flush=True)
    os._exit(3)


@asset
def crashes() -> int:
    ctypes.string_at(0)


@asset
def exits() -> int:
    sys.exit(0)


@asset
def deaf(ctx) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    Path("deaf.pids").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


@asset
def fine() -> int:
    return 1
"""
MakeSite = Callable[..., Site]


def run(daemon: Daemon, asset: str) -> RunAnswer:
    """Materialize one asset and wait for the end."""
    (number,) = daemon.client.materialize(MaterializeBody(assets=(asset,))).runs
    ended = daemon.client.wait(number, timeout=60)
    assert ended.ended, ended
    return ended


def error_of(found: RunAnswer) -> dict[str, Any]:
    """The error of its only step."""
    error: dict[str, Any] = found.steps[0].error
    return error


def test_a_worker_that_calls_os_exit_fails_its_own_run(make_site: MakeSite) -> None:
    """It counts against `retries`; its output is in the journal; the next run is fine."""
    site = make_site(PLUGIN)
    daemon = site.start().ready()
    left = run(daemon, "leaves")
    assert (left.state, left.steps[0].attempt, left.steps[0].failures) == ("failed", 2, 2)
    assert "exit status 3" in error_of(left)["message"]
    assert "about to leave" in site.cli("logs", str(left.id)).stdout
    assert run(daemon, "fine").state == "succeeded"
    assert daemon.stop() == 0


def test_a_worker_that_segfaults_fails_its_own_run(make_site: MakeSite) -> None:
    """The signal is named."""
    daemon = make_site(PLUGIN).start().ready()
    crashed = run(daemon, "crashes")
    assert crashed.state == "failed"
    assert "SIGSEGV" in error_of(crashed)["message"]
    assert run(daemon, "fine").state == "succeeded"
    assert daemon.stop() == 0


def test_a_step_that_calls_sys_exit_has_failed(make_site: MakeSite) -> None:
    """Also with status 0: it has made no value."""
    daemon = make_site(PLUGIN).start().ready()
    assert run(daemon, "exits").state == "failed"
    assert daemon.stop() == 0


def test_a_step_that_ignores_sigterm_is_canceled_with_all_its_processes(make_site: MakeSite) -> None:
    """SIGKILL follows."""
    site = make_site(PLUGIN)
    daemon = site.start().ready()
    number, pids = begin_deaf(site, daemon)
    assert daemon.client.cancel(number).state in ("canceling", "canceled")
    assert daemon.client.wait(number, timeout=60).state == "canceled"
    assert not any(map(processes.alive, pids))
    assert run(daemon, "fine").state == "succeeded"
    assert daemon.stop() == 0


def test_a_step_that_ignores_sigterm_does_not_hold_up_the_end(make_site: MakeSite) -> None:
    """The daemon ends soon after `shutdown_grace`, with status 0, and leaves nothing; the run starts again."""
    site = make_site(PLUGIN, grace="500ms")
    daemon = site.start().ready()
    number, pids = begin_deaf(site, daemon)
    began = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_ended(within=40) == 0
    took = time.monotonic() - began
    assert took >= 0.5, took
    assert not any(map(processes.alive, pids))
    assert not site.processes()
    (site.folder / "deaf.pids").unlink()
    again = site.start().ready()
    again.wait_until((site.folder / "deaf.pids").exists, "the step runs again")
    found = again.client.run(number)
    assert (found.state, found.interruptions, found.steps[0].attempt) == ("started", 1, 2)


def begin_deaf(site: Site, daemon: Daemon) -> tuple[int, list[int]]:
    """Start the step; its run, and its processes."""
    (number,) = daemon.client.materialize(MaterializeBody(assets=("deaf",))).runs
    note = site.folder / "deaf.pids"
    pids = daemon.wait_until(lambda: note.read_text().split() if note.exists() else None, "the step runs")
    return number, [int(pid) for pid in pids]
