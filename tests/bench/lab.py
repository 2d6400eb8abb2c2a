"""A daemon of its own in a folder of its own, ended with all its processes whatever happens."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tests.bench.api import Api
from tests.bench.processes import alive, tree
from tests.bench.waiting import TookTooLong, until

__all__ = ["Lab"]

_READY_WITHIN = 30.0
_GRACE = 2.0
_LOG_SHOWN = 6000


class Lab:
    """`root` holds `plugins/`, `inbox/`, `state/` and the configuration. Entered, its daemon is ready."""

    def __init__(self, name: str, plugins: dict[str, str], *, scratch: Path, logs: Path, workers: int | None) -> None:
        self.name = name
        self.root = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=scratch))
        self.inbox = self.root / "inbox"
        self.config = self.root / "freshet.toml"
        self.log = logs / f"{name}.log"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.inbox.mkdir()
        (self.root / "plugins").mkdir()
        for file, text in plugins.items():
            (self.root / "plugins" / file).write_text(text)
        limit = "" if workers is None else f"[process]\nworkers = {workers}\n"
        self.config.write_text(
            'state_dir = "state"\nplugins_dir = "plugins"\nroot = "."\n'
            f'shutdown_grace = "{_GRACE:g}s"\n[http]\nport = {self.port}\n{limit}'
        )

    # --- its life -------------------------------------------------------------------------------------------

    def __enter__(self) -> Lab:
        try:
            self.start()
        except BaseException as error:
            self._end(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(error)

    def start(self) -> float:
        """Start the daemon; returns the seconds from the start of the process to the first 200 of /readyz."""
        command = [sys.executable, "-m", "freshet", "run", "--config", str(self.config)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
        with self.log.open("ab") as log:
            began = time.monotonic()
            self._process = subprocess.Popen(
                command, cwd=self.root, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        while not self._ready():
            if self._process.poll() is not None:
                raise AssertionError(f"the daemon ended with status {self._process.returncode} before it was ready")
            if time.monotonic() - began > _READY_WITHIN:
                raise TookTooLong(f"not ready within {_READY_WITHIN:g} s")
            time.sleep(0.002)
        return time.monotonic() - began

    def stop(self) -> None:
        """SIGTERM, and wait until all its processes are gone; those that are not after a while are killed."""
        process, self._process = self._process, None
        if process is None:
            return
        family = tree(process.pid)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(_GRACE + 8)
        except subprocess.TimeoutExpired:
            print(f"  {self.name}: the daemon did not stop in time and is killed", flush=True)
            process.kill()
            process.wait()
        end = time.monotonic() + 5
        while (left := [pid for pid in family if alive(pid)]) and time.monotonic() < end:
            time.sleep(0.01)
        for pid in left:
            print(f"  {self.name}: process {pid} outlived its daemon and is killed", flush=True)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _end(self, error: BaseException | None) -> None:
        try:
            self.stop()
        finally:
            if isinstance(error, Exception):
                tail = self.log.read_bytes()[-_LOG_SHOWN:] if self.log.exists() else b""
                print(f"--- {self.log}:\n{tail.decode(errors='replace')}---", flush=True)
            shutil.rmtree(self.root, ignore_errors=True)

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    # --- what is asked of it --------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Of the daemon."""
        assert self._process is not None, "the daemon runs"
        return self._process.pid

    def api(self) -> Api:
        """A connection to its API."""
        return Api(self.root / "state" / "freshet.sock")

    def settle(self, *, timeout: float = 60.0) -> None:
        """Wait until nothing is queued or running."""
        with self.api() as api:

            def idle() -> bool:
                status = api.get("status")
                return bool(status["queued"] == 0 and status["running"] == 0)

            until(idle, f"{self.name}: nothing queued or running", timeout=timeout, every=0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
