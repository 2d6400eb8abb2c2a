"""After kill -9 of the daemon nothing of it is left, and nothing of what it began is published."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support import processes
from tests.support.daemon import Daemon, Site, site_at, wait_until

GONE_WITHIN = 20.0

PLUGIN = '''
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from freshet import asset, sensor


def note(name):
    Path(f"{name}.{os.getpid()}").touch()


@asset
def stubborn(ctx) -> int:
    """Ignores what can be ignored, has a child, a grandchild in a session of its own, and one that double-forked."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    subprocess.Popen(sleep)
    subprocess.Popen(sleep, start_new_session=True)
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            note("orphan")
            time.sleep(600)
        os._exit(0)
    note("begun")
    while not Path("go").exists():
        time.sleep(0.01)
    return ctx.attempt


@asset
def lingering(ctx) -> int:
    """Has made itself deaf to the end of its parents."""
    for other in Path().glob("lingering.*"):
        try:
            state = Path(f"/proc{other.suffix.replace('.', '/')}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            note("overlap")
    ctypes.CDLL(None).prctl(1, 0)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("lingering")
    while not Path("go").exists():
        time.sleep(0.01)
    return ctx.attempt


@sensor(interval="50ms")
def busy(ctx):
    """Blocks its thread and has a child."""
    if not Path("busy").exists():
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note("busy")
        Path("busy").touch()
    time.sleep(1)
'''


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty one with these plugins."""
    with site_at(tmp_path / "site", plugins={"plugin.py": PLUGIN}, workers=3) as made:
        yield made


def test_nothing_is_left_and_nothing_is_published(site: Site) -> None:
    """Host, evaluators, workers, what they started, and what those started."""
    daemon = site.start().ready()
    run = begin_stubborn(site, daemon)
    before = site.processes()
    assert len(before) >= 8, [processes.command_line(pid) for pid in before]
    daemon.kill()
    (site.folder / "go").touch()  # a worker that lived on would now publish its value
    wait_until(lambda: not site.processes(), "all its processes have ended", within=GONE_WITHIN)
    assert published(site, "stubborn") is None
    again = site.start().ready()
    ended = again.client.wait(run, timeout=60)
    assert (ended.state, ended.interruptions, ended.steps[0].attempt) == ("succeeded", 1, 2)
    assert again.stop() == 0
    assert published(site, "stubborn") == f"stubborn/@/{run}-2.json"


def test_killed_in_any_order_nothing_is_left(site: Site) -> None:
    """The host dies first: the daemon goes on, and what the host had is gone too."""
    daemon = site.start().ready()
    run = begin_stubborn(site, daemon)
    status = daemon.client.status()
    assert status.host is not None
    old = processes.descendants(status.host.pid) + [int(path.suffix[1:]) for path in site.folder.glob("orphan.*")]
    processes.kill([status.host.pid])
    wait_until(lambda: not any(map(processes.alive, old)), "the host's processes have ended", within=GONE_WITHIN)
    (site.folder / "go").touch()
    ended = daemon.client.wait(run, timeout=60)
    assert (ended.state, ended.interruptions, ended.steps[0].attempt) == ("succeeded", 1, 2)
    assert daemon.stop() == 0
    assert not site.processes()


def test_no_step_starts_before_old_children_are_gone(site: Site) -> None:
    """A worker that outlives its daemon: the next one ends it, and only then starts a step."""
    daemon = site.start().ready()
    (run,) = site.cli_json("materialize", "lingering")["runs"]
    note = daemon.wait_until(lambda: next(site.folder.glob("lingering.*"), None), "the step runs")
    old = int(note.suffix[1:])
    status = daemon.client.status()
    assert status.host is not None
    processes.kill([status.host.pid], signal.SIGSTOP)  # it would have ended the worker
    daemon.kill()
    assert processes.alive(old), "it should outlive the daemon"
    again = site.start().ready()
    again.wait_until(lambda: len(list(site.folder.glob("lingering.*"))) == 2, "the step runs again")
    assert not processes.alive(old)
    assert not list(site.folder.glob("overlap.*"))
    (site.folder / "go").touch()
    assert again.client.wait(run, timeout=60).state == "succeeded"
    assert again.stop() == 0
    assert published(site, "lingering") == f"lingering/@/{run}-2.json"


def begin_stubborn(site: Site, daemon: Daemon) -> int:
    """Start the step and wait until it and its orphan run; the number of its run."""
    (run,) = site.cli_json("materialize", "stubborn")["runs"]
    daemon.wait_until(
        lambda: all(any(site.folder.glob(f"{name}.*")) for name in ("begun", "orphan", "busy")), "all have begun"
    )
    return int(run)


def published(site: Site, asset: str) -> str | None:
    """The path of the asset's valid value."""
    with closing(sqlite3.connect(f"file:{site.state}/freshet.db?mode=ro", uri=True)) as db:
        rows = db.execute(
            "SELECT s.value FROM asset_state s JOIN assets a ON a.id = s.asset_id WHERE a.name = ?", (asset,)
        ).fetchall()
    value: list[str] = json.loads(rows[0][0]) if rows and rows[0][0] else [""]
    return value[0] or None
