"""A daemon of its own for a test: real processes, real files, its real socket.

`Site` is a place: plugins, an inbox, a configuration, a state directory. `Daemon` is one process on it. Everything is
waited for by a condition and a bound; whatever a site started is gone when its block ends.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.support import processes

from freshet.cli.client import Client
from freshet.errors import DaemonUnreachable
from freshet.http.models import RunAnswer, StatusAnswer

__all__ = ["IMPORT_TESTS", "Daemon", "DaemonEnded", "Site", "site_at", "wait_until"]

T = TypeVar("T")

IMPORT_TESTS = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])}
"""The environment of a command that is one of the tests' modules."""

PATIENCE = 60.0
"""Seconds after which what should have happened did not."""
_EVERY = 0.02
_LOG_TAIL = 16_000


class DaemonEnded(AssertionError):
    """The daemon ended while something was expected of it."""


def wait_until(condition: Callable[[], T | None], what: str, *, within: float = PATIENCE, every: float = _EVERY) -> T:
    """The first true answer of `condition`. After `within` seconds an `AssertionError` names `what` and the last."""
    until = time.monotonic() + within
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"not within {within} s: {what} (last: {found!r})")
        time.sleep(every)


@contextmanager
def site_at(folder: Path, **options: Any) -> Generator[Site, None, None]:
    """A site for as long as the block lasts; see `Site`."""
    site = Site(folder, **options)
    try:
        yield site
    finally:
        site.close()


class Site:
    """`folder` gets plugins/, inbox/ and freshet.toml; the state is in `state`, by default folder/state.

    `plugins`: source by file name. `env`: what its processes find in their environment besides that of the tests.
    """

    def __init__(
        self,
        folder: Path,
        *,
        plugins: Mapping[str, str],
        state: Path | None = None,
        workers: int = 2,
        grace: str = "3s",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.state = state or folder / "state"
        self.plugins = folder / "plugins"
        self.inbox = folder / "inbox"
        self.config = folder / "freshet.toml"
        self.log = folder / "daemon.log"
        self.mark = f"TEST_SITE={secrets.token_hex(8)}"
        self._env = dict(env or {})
        self._daemons: list[Daemon] = []
        for made in (self.plugins, self.inbox):
            made.mkdir(parents=True)
        for name, source in plugins.items():
            (self.plugins / name).write_text(source)
        self.config.write_text(
            f'state_dir = {json.dumps(str(self.state))}\nplugins_dir = "plugins"\nroot = "."\n'
            f'shutdown_grace = "{grace}"\n'
            f'[http]\nport = 0\n[process]\nworkers = {workers}\n[log]\nlevel = "debug"\nformat = "console"\n'
        )

    @property
    def environment(self) -> dict[str, str]:
        """What its processes begin with: no settings of the surroundings, and the mark."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
        name, _, value = self.mark.partition("=")
        return {**own, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", name: value, **self._env}

    def start(
        self,
        command: Sequence[str] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        stdin: int = subprocess.DEVNULL,
    ) -> Daemon:
        """Start a daemon: `freshet run`, or another command (of the interpreter) that ends up in one."""
        argv = [sys.executable, *(command or ("-m", "freshet", "run")), "--config", str(self.config)]
        daemon = Daemon(self, argv, {**self.environment, **(env or {})}, pass_fds=pass_fds, stdin=stdin)
        self._daemons.append(daemon)
        return daemon

    def cli(self, *arguments: str, within: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run a command of the CLI to its end."""
        argv = [sys.executable, "-m", "freshet", *arguments, "--config", str(self.config)]
        return subprocess.run(
            argv, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=within, check=False
        )

    def cli_json(self, *arguments: str) -> Any:
        """What a command answers with `--json`; `AssertionError` with its complaint if it fails."""
        done = self.cli(*arguments, "--json")
        assert done.returncode == 0, f"freshet {' '.join(arguments)}: {done.stderr}"
        return json.loads(done.stdout)

    def processes(self) -> list[int]:
        """Every living process that anything of this site started, at any distance."""
        return processes.marked(self.mark)

    def log_text(self) -> str:
        """What its daemons have written to stdout and stderr."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def close(self) -> None:
        """Kill what is left, and print the end of the log, which pytest shows for a failed test."""
        for daemon in self._daemons:
            daemon.end()
        try:
            wait_until(lambda: not self._kill_rest(), "the site's processes are gone", within=10)
        finally:
            print(f"--- {self.log} ---\n{self.log_text()[-_LOG_TAIL:]}")  # noqa: T201  # shown by pytest on failure

    def _kill_rest(self) -> list[int]:
        left = self.processes()
        processes.kill(left)
        return left


class Daemon:
    """One process of a daemon on a site."""

    def __init__(
        self,
        site: Site,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        pass_fds: Sequence[int] = (),
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.site = site
        self._log_begins = len(site.log_text())
        with site.log.open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                env=dict(env),
                cwd=site.folder,
                stdin=stdin,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        self.client = Client(site.state / "freshet.sock")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def log_text(self) -> str:
        """What this daemon has written."""
        return self.site.log_text()[self._log_begins :]

    # --- waiting --------------------------------------------------------------------------------------------

    def ready(self, *, within: float = PATIENCE) -> Daemon:
        """Wait until it says that it is ready."""
        self.wait_until(
            lambda: (status := self.try_status()) is not None and status.state == "ready", "ready", within=within
        )
        return self

    def wait_until(
        self, condition: Callable[[], T | None], what: str, *, within: float = PATIENCE, every: float = _EVERY
    ) -> T:
        """As the function of that name; `DaemonEnded` as soon as this daemon ends instead."""

        def or_ended() -> T | None:
            if self.process.poll() is not None:
                raise DaemonEnded(f"ended with {self.process.returncode}, expected: {what}\n{self.log_text()[-4000:]}")
            return condition()

        return wait_until(or_ended, what, within=within)

    def wait_ended(self, *, within: float = PATIENCE) -> int:
        """Its exit status (negative: the signal that ended it) as soon as there is one."""
        try:
            return self.process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the daemon still runs after {within} s\n{self.log_text()[-4000:]}") from None

    def try_status(self) -> StatusAnswer | None:
        """What it says of itself; None while it does not answer."""
        try:
            return self.client.status()
        except DaemonUnreachable:
            return None

    def idle(self) -> bool:
        """Nothing runs and nothing waits for a slot or a back-off."""
        status = self.client.status()
        return status.state == "ready" and status.running == 0 and status.queued == 0

    def runs(self, target: str | None = None) -> list[RunAnswer]:
        """All runs, newest first."""
        found: list[RunAnswer] = []
        while page := self.client.runs(target=target, limit=1000, before=found[-1].id if found else None):
            found += page
        return found

    # --- ending ---------------------------------------------------------------------------------------------

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self, *, within: float = PATIENCE) -> int:
        """SIGTERM; returns the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_ended(within=within)

    def kill(self) -> None:
        """SIGKILL, as a power cut would for this process alone."""
        self.signal(signal.SIGKILL)
        self.wait_ended(within=5)

    def end(self) -> None:
        """Whatever it does, it is over afterwards."""
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
