"""What the daemon tells systemd, and when: by a socket in its place."""

from __future__ import annotations

import os
import pty
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import anyio
import pytest
from tests.support.daemon import IMPORT_TESTS, Site, site_at, wait_until
from tests.support.manager import Ears

from freshet.engine.notify import Manager

PLUGIN = """
import time
from pathlib import Path

from freshet import job


@job
def lasting():
    Path("lasting").touch()
    while not Path("go").exists():
        time.sleep(0.01)
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty one with a job that lasts."""
    with site_at(tmp_path / "site", plugins={"plugin.py": PLUGIN}, grace="30s") as made:
        yield made


# --- a whole daemon ------------------------------------------------------------------------------------------


def test_ready_comes_when_it_is_and_stopping_before_it_waits(site: Site, ears: Ears) -> None:
    daemon = site.start(env=ears.environment)
    ears.until("READY", "1")
    status = daemon.try_status()
    assert status is not None and status.state == "ready"
    ears.until("STATUS", "ready: 0 running, 0 queued")
    assert site.cli("call", "lasting").returncode == 0
    daemon.wait_until((site.folder / "lasting").exists, "it runs")
    daemon.signal(signal.SIGTERM)
    ears.until("STOPPING", "1")
    assert daemon.process.poll() is None, "it is said before what runs has ended"
    assert [name for name, _ in ears.heard if name in ("READY", "STOPPING")] == ["READY", "STOPPING"]
    assert ears.count("WATCHDOG") == 0, "nobody asked for it"
    (site.folder / "go").touch()
    assert daemon.wait_ended() == 0


def test_ready_is_not_told_while_plugins_load(site: Site, ears: Ears) -> None:
    (site.plugins / "slow.py").write_text(
        "import time\nfrom pathlib import Path\nwhile not Path('go').exists():\n    time.sleep(0.01)\n"
    )
    daemon = site.start(env=ears.environment)
    ears.until("STATUS", "starting: 0 running, 0 queued")
    assert ears.count("READY") == 0
    (site.folder / "go").touch()
    ears.until("READY", "1")
    assert daemon.stop() == 0


def test_why_it_cannot_start_is_its_status(site: Site, ears: Ears) -> None:
    """`systemctl status` then says more than an exit code."""
    (site.plugins / "broken.py").write_text("raise RuntimeError('not today')\n")
    daemon = site.start(env=ears.environment)
    assert daemon.wait_ended() == 1
    assert "not today" in ears.values("STATUS")[-1]
    assert ears.count("READY") == 0


def test_the_watchdog_hears_from_the_loop_and_from_nothing_else(site: Site, ears: Ears) -> None:
    """While the loop is held and the rest of the process lives, it hears nothing; then it does again."""
    env = {**IMPORT_TESTS, **ears.environment, "WATCHDOG_USEC": "300000"}
    daemon = site.start(("-m", "tests.service.held"), env=env).ready()
    daemon.wait_until(lambda: ears.count("WATCHDOG") >= 3, "it is fed")
    daemon.signal(signal.SIGUSR1)
    daemon.wait_until((site.folder / "held").exists, "the loop is held")
    lives = site.folder / "lives"
    before, beats = lives.stat().st_size, ears.count("WATCHDOG")
    daemon.wait_until(lambda: lives.stat().st_size > before + 40, "another thread goes on for some seconds")
    assert ears.count("WATCHDOG") <= beats + 1, "one may have been on its way"
    (site.folder / "go").touch()
    beats = ears.count("WATCHDOG")
    daemon.wait_until(lambda: ears.count("WATCHDOG") > beats + 2, "it is fed again")
    daemon.wait_until(lambda: "the event loop was held" in daemon.log_text(), "the log says so")
    assert "_held" in daemon.log_text().partition("the event loop was held")[2], "and by whom"
    assert daemon.stop() == 0


def test_what_the_watchdog_ends_says_where_it_stood(site: Site) -> None:
    """systemd sends SIGABRT: the journal has the stack, and nothing of the daemon is left."""
    daemon = site.start(("-m", "tests.service.held"), env=IMPORT_TESTS).ready()
    daemon.signal(signal.SIGUSR1)
    daemon.wait_until((site.folder / "held").exists, "the loop is held")
    daemon.signal(signal.SIGABRT)
    assert daemon.wait_ended() == -signal.SIGABRT
    wait_until(lambda: not site.processes(), "nothing is left")
    assert "in _held" in daemon.log_text()


def test_sighup_reloads_and_says_so(site: Site, ears: Ears) -> None:
    daemon = site.start(env=ears.environment)
    ears.until("READY", "1")
    daemon.signal(signal.SIGHUP)
    daemon.wait_until(lambda: ears.count("READY") == 2, "it is ready again")
    names = [name for name, _ in ears.heard if name in ("READY", "RELOADING", "MONOTONIC_USEC")]
    assert names == ["READY", "RELOADING", "MONOTONIC_USEC", "READY"]
    assert 0 < int(ears.values("MONOTONIC_USEC")[0]) < 2**63
    assert daemon.client.status().state == "ready"
    assert daemon.stop() == 0


def test_sighup_of_a_terminal_that_closes_stops_it(site: Site) -> None:
    """As it stops other programs: nobody is there who could."""
    leader, terminal = pty.openpty()
    try:
        own = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        command = ("-c", own + "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])", "-m", "freshet", "run")
        daemon = site.start(command, stdin=terminal).ready()
    finally:
        os.close(terminal)
    daemon.signal(signal.SIGHUP)
    daemon.wait_until(lambda: "asked to reload" in daemon.log_text(), "with the terminal there it is another's wish")
    os.close(leader)
    assert daemon.wait_ended() == 0


# --- the sender ----------------------------------------------------------------------------------------------


def test_nobody_is_told_where_nobody_listens(tmp_path: Path) -> None:
    assert not Manager().tell(READY=1)
    assert not Manager(str(tmp_path / "nobody")).tell(READY=1)


def test_an_abstract_address_and_a_line_end(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"\0freshet-{tmp_path.name}-{os.getpid()}")
        ear.settimeout(10)
        assert Manager(f"@freshet-{tmp_path.name}-{os.getpid()}").tell(STATUS="one\nREADY=1", ERRNO=22)
        assert ear.recv(1000) == b"STATUS=one READY=1\nERRNO=22"


def test_a_socket_that_nobody_drains_holds_nobody(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        manager = Manager(str(tmp_path / "deaf"))
        assert not all(manager.tell(STATUS="x" * 1000) for _ in range(10_000))


@pytest.mark.parametrize(
    ("environ", "watchdog"),
    [
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000"}, 30.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_is_ours_alone_and_leaves_the_environment(environ: dict[str, str], watchdog: float) -> None:
    environ["HOME"] = "/"
    assert Manager.taken_from(environ).watchdog == watchdog
    assert environ == {"HOME": "/"}


@pytest.mark.anyio
async def test_a_loop_that_stands_still_on_a_turning_one_is_not_fed(ears: Ears) -> None:
    """What /healthz calls stuck, the watchdog does too; the status line is sent when it changes."""
    standing, line = True, "ready"

    async def keep(manager: Manager) -> NoReturn:
        await manager.keep(lambda: line, lambda: standing)

    async def until(condition: Callable[[], bool]) -> None:
        with anyio.fail_after(30):
            while not condition():
                await anyio.sleep(0.01)

    async with anyio.create_task_group() as group:
        group.start_soon(keep, Manager(ears.environment["NOTIFY_SOCKET"], watchdog=0.03))
        await until(lambda: ears.heard == [("STATUS", "ready")])
        line = "ready; no space left"
        await until(lambda: ears.heard[1:] == [("STATUS", "ready; no space left")])
        standing = False
        await until(lambda: ears.count("WATCHDOG") > 3)
        assert ears.count("STATUS") == 2
        group.cancel_scope.cancel()
