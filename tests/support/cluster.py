"""A Dask cluster on loopback: a scheduler and two workers, processes of a test's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.daemon import wait_until

__all__ = ["Cluster"]


class Cluster:
    """`address` stays the same when the scheduler is started again. Its processes find CLUSTER_WORKER in their
    environment: their name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[subprocess.Popen[bytes]] = []
        self.address = ""
        self.scheduler = self.start_scheduler()
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.start_workers()

    @property
    def pids(self) -> set[int]:
        """Of all that were started."""
        return {one.pid for one in self._all}

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        """At the address at which it was before, if it was."""
        log = self._folder / "scheduler.log"
        port = self.address.rpartition(":")[2] or "0"
        self.scheduler = self._start(
            ["scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--dashboard-address", ":0"],
            log,
            "scheduler",
        )
        found = wait_until(lambda: re.search(r"Scheduler at:\s+(tcp://\S+)", log.read_text()), "the scheduler")
        self.address = found[1]
        return self.scheduler

    def start_workers(self) -> None:
        """Those that are not there."""
        missing = [name for name in ("one", "two") if name not in self.workers or self.workers[name].poll() is not None]
        for name in missing:
            command = ["worker", self.address, "--no-nanny", "--nthreads", "2", "--name", name, "--no-dashboard"]
            self.workers[name] = self._start(command, self._folder / f"{name}.log", name)
        for name in missing:
            log = self._folder / f"{name}.log"
            wait_until(lambda log=log: "Registered to" in log.read_text(), f"worker {name}")  # type: ignore[misc]

    def _start(self, command: list[str], log: Path, name: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            started = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + command[0], *command[1:]],
                stdout=out, stderr=out, cwd=self._folder, env={**os.environ, "CLUSTER_WORKER": name},
            )  # fmt: skip
        self._all.append(started)
        return started

    def close(self) -> None:
        """End all."""
        for one in self._all:
            one.kill()
            one.wait()
