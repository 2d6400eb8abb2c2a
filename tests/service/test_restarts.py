"""With a socket that was handed down, deliveries come in one stream through any number of restarts."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.crash.senders import PLUGIN, Memory, address, at_rest
from tests.support.daemon import Daemon, Site, site_at, wait_until
from tests.support.manager import Ears, handed, listening
from tests.support.signers import SECRET, sign

PATIENT = 240.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty one with a hook."""
    with site_at(tmp_path / "site", plugins={"plugin.py": PLUGIN}, env={"SECRET": SECRET}) as made:
        yield made


class Stream:
    """Senders that deliver all the time, each delivery on a connection of its own, until it is acknowledged."""

    def __init__(self, url: str, senders: int = 4) -> None:
        self.memory = Memory()
        self.refused: list[str] = []
        self.cut: list[str] = []
        self._url = url
        self._numbers = itertools.count(1)
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send) for _ in range(senders)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._over.is_set():
            number = next(self._numbers)
            while not self._deliver(f"d{number}", number):
                pass

    def _deliver(self, id: str, number: int) -> bool:
        """Whether it is over: acknowledged, or refused, which no sender may see."""
        signed = sign("hmac-sha256", f'{{"id":"{id}","body":{number}}}'.encode(), id=id)
        try:
            answer = httpx.post(self._url, content=signed.body, headers=signed.headers, timeout=PATIENT)
        except httpx.ConnectError as error:
            with self._lock:
                self.refused.append(f"{id}: {error}")
            return True
        except httpx.TransportError as error:
            with self._lock:
                self.cut.append(f"{id}: {error!r}")
                self.memory.heard(id, number, None)
            return False
        with self._lock:
            if answer.status_code not in (200, 202):
                self.refused.append(f"{id}: {answer.status_code}")
            else:
                self.memory.heard(id, number, answer)
        return True

    def until_more(self, count: int = 20) -> None:
        """Wait until so many more have been acknowledged."""
        before = len(self.memory.taken)
        wait_until(lambda: len(self.memory.taken) >= before + count, f"{count} more deliveries", within=PATIENT)

    def end(self) -> None:
        """Let all of them have their answers."""
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENT)


def settled(site: Site, daemon: Daemon, stream: Stream) -> None:
    """Nothing was refused, nothing is lost, and each has run once."""
    stream.end()
    assert not stream.refused
    daemon.wait_until(lambda: at_rest(daemon), "all is at rest", within=PATIENT)
    assert daemon.stop() == 0
    stream.memory.check(site)


def test_no_delivery_is_refused_or_lost_while_daemons_are_killed_and_stopped(site: Site) -> None:
    """After kill -9 what was on its way is sent again, as webhook senders do; after a stop not even that is needed."""
    with listening() as held:
        stream = Stream(f"http://127.0.0.1:{held.getsockname()[1]}/hooks/hook")
        try:
            for end in ("kill", "stop", "kill", "stop"):
                daemon = site.start(handed(held), pass_fds=(held.fileno(),)).ready()
                stream.until_more()
                cut = len(stream.cut)
                if end == "stop":
                    assert daemon.stop() == 0
                    assert stream.cut[cut:] == []
                else:
                    daemon.kill()
            last = site.start(handed(held), pass_fds=(held.fileno(),)).ready()
            stream.until_more()
            settled(site, last, stream)
        finally:
            stream.end()


def test_one_that_comes_before_the_daemon_is_ready_waits(site: Site) -> None:
    """It is not told 503, as it is on a socket of the daemon's own."""
    (site.plugins / "late.py").write_text(
        "import time\nfrom pathlib import Path\nwhile not Path('go').exists():\n    time.sleep(0.01)\n"
    )
    with listening() as held:
        stream = Stream(f"http://127.0.0.1:{held.getsockname()[1]}/hooks/hook", senders=1)
        try:
            daemon = site.start(handed(held), pass_fds=(held.fileno(),))
            daemon.wait_until(
                lambda: (site.state / "freshet.sock").exists(), "it has bound its sockets", within=PATIENT
            )
            assert (stream.memory.taken, stream.refused, stream.cut) == ({}, [], [])
            (site.folder / "go").touch()
            stream.until_more(1)
            settled(site, daemon, stream)
        finally:
            stream.end()


def test_neither_the_socket_nor_what_names_it_reaches_a_child(site: Site, ears: Ears) -> None:
    """A step that spoke to the service manager would speak for the daemon; one that held the socket would keep it."""
    (site.plugins / "looks.py").write_text(
        "import json, os\nfrom pathlib import Path\nfrom freshet import job\n\n\n@job\ndef looks():\n"
        "    named = [one for one in os.environ if one.startswith(('LISTEN_', 'NOTIFY_', 'WATCHDOG_'))]\n"
        "    open_ = [os.readlink(f'/proc/self/fd/{one}') for one in os.listdir('/proc/self/fd')\n"
        "             if os.path.exists(f'/proc/self/fd/{one}')]\n"
        "    Path('saw.part').write_text(json.dumps([named, open_]))\n    Path('saw.part').rename('saw')\n"
    )
    with listening() as held:
        inode = f"socket:[{Path(f'/proc/self/fd/{held.fileno()}').readlink().name.split('[')[-1]}"
        env = {**ears.environment, "WATCHDOG_USEC": "30000000"}
        daemon = site.start(handed(held), pass_fds=(held.fileno(),), env=env).ready()
        assert site.cli("call", "looks", "--wait").returncode == 0
        saw = (site.folder / "saw").read_text()
        assert "LISTEN_" not in saw and "NOTIFY_" not in saw and "WATCHDOG_" not in saw
        assert inode not in saw and "socket:[" in inode
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ("socket.socket(socket.AF_UNIX)", "no listening TCP socket"),
        ("socket.socket()", "no listening TCP socket"),
        ("open('/dev/null')", "is no socket"),
    ],
)
def test_what_is_no_listening_socket_is_refused(site: Site, made: str, says: str) -> None:
    code = (
        f"import os, socket, sys\nmade = {made}\nos.dup2(made.fileno(), 3)\nos.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    daemon = site.start(("-c", code, "-m", "freshet", "run"))
    assert daemon.wait_ended() == 1
    assert says in daemon.log_text() and "ListenStream=" in daemon.log_text()


def test_sockets_for_another_process_are_not_taken(site: Site) -> None:
    """LISTEN_PID is that of whoever was started, and is inherited by those whom it starts."""
    with listening() as held:
        daemon = site.start(env={"LISTEN_PID": "1", "LISTEN_FDS": "1"}, pass_fds=(held.fileno(),)).ready()
        assert f":{held.getsockname()[1]}/" not in address(daemon)
        assert daemon.stop() == 0


ACTIVATE = shutil.which("systemd-socket-activate")


@pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate is not installed here")
def test_systemd_hands_down_its_socket_and_nothing_is_refused_through_restarts(site: Site) -> None:
    """As freshet.socket does: systemd's own tool holds the socket and starts, with the first delivery, what starts one
    daemon after another with it."""
    with listening() as free:
        port = free.getsockname()[1]
    again = (
        "import os, subprocess, sys\n"
        "for _ in range(4):\n"
        "    code = 'import os, sys; os.environ[\"LISTEN_PID\"] = str(os.getpid());' "
        "'os.execv(sys.executable, [sys.executable, *sys.argv[1:]])'\n"
        "    made = subprocess.Popen([sys.executable, '-c', code, *sys.argv[1:]], pass_fds=(3,))\n"
        "    print('began', made.pid, flush=True)\n"
        "    made.wait()\n"
    )
    names = [f"--setenv={name}={value}" for name, value in site.environment.items()]
    run = [sys.executable, "-c", again, "-m", "freshet", "run", "--config", str(site.config)]
    assert ACTIVATE is not None
    with (site.folder / "began").open("wb") as began, site.log.open("ab") as log:
        manager = subprocess.Popen(
            [ACTIVATE, "-l", f"127.0.0.1:{port}", *names, *run],
            stdout=began,
            stderr=log,
            env=site.environment,
            cwd=site.folder,
        )
    try:
        wait_until(lambda: _listens(port), "it listens")
        stream = Stream(f"http://127.0.0.1:{port}/hooks/hook")
        try:
            for count, number in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL), start=1):
                stream.until_more()
                pid = wait_until(lambda count=count: _began(site, count), f"daemon {count} began", within=PATIENT)  # type: ignore[misc]
                subprocess.run(["kill", f"-{int(number)}", str(pid)], check=True)
            stream.until_more()
        finally:
            stream.end()
        assert not stream.refused
        last = _began(site, 4)
        assert last
        subprocess.run(["kill", str(last)], check=True)
        assert manager.wait(PATIENT) == 0
        with listening():
            daemon = site.start().ready()
            daemon.wait_until(lambda: at_rest(daemon), "all is at rest", within=PATIENT)
            assert daemon.stop() == 0
        stream.memory.check(site)
    finally:
        manager.kill()
        manager.wait()


def _listens(port: int) -> bool:
    """Whether somebody does, as the kernel's table says: to connect would start the daemon."""
    return any(f":{port:04X} 00000000:0000 0A" in line for line in Path("/proc/net/tcp").read_text().splitlines())


def _began(site: Site, count: int) -> int | None:
    lines = (site.folder / "began").read_text().split("\n")[:-1]
    return int(lines[count - 1].split()[1]) if len(lines) >= count else None
