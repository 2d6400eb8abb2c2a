"""Steps on a Dask cluster: a real one, on loopback, with a worker that is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import orjson
import pytest
from tests.support import processes
from tests.support.daemon import Daemon, Site, site_at, wait_until

pytest.importorskip("distributed")

PLUGIN = """
import os, time
from pathlib import Path
import helper
from freshet import Dask, DynamicPartitions, asset, job

CLUSTER = Dask("{address}")

@asset
def above():
    return [1, 2, 3]

@asset(executor=CLUSTER)
def total(ctx, above):
    print("on the cluster")
    ctx.metadata(n=len(above))
    return helper.add(above)

@asset
def below(total):
    return total + 1

@job(executor=CLUSTER)
def waits(folder: str):
    with open(folder + "/begun", "a") as file:
        file.write(str(os.getpid()) + " " + os.environ["CLUSTER_WORKER"] + "\\n")
    while not os.path.exists(folder + "/go"):
        time.sleep(0.01)

@job(executor=CLUSTER)
def raises():
    raise ValueError("not there either")

@job(executor=Dask("tcp://127.0.0.1:1"))
def nowhere(): ...
"""


class _Cluster:
    """A scheduler and two workers, processes of this test's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[subprocess.Popen[bytes]] = []
        self._log = folder / "scheduler.log"
        command = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address", ":0"]
        self._start(command, self._log, "scheduler")
        found = wait_until(lambda: re.search(r"Scheduler at:\s+(tcp://\S+)", self._log.read_text()), "the scheduler")
        self.address = found[1]
        self.workers = {name: self.worker(name) for name in ("one", "two")}
        for name in self.workers:
            log = folder / f"{name}.log"
            wait_until(lambda log=log: "Registered to" in log.read_text(), f"worker {name}")  # type: ignore[misc]

    def _start(self, command: list[str], log: Path, name: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            started = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + command[0], *command[1:]],
                stdout=out, stderr=out, cwd=self._folder, env={**os.environ, "CLUSTER_WORKER": name},
            )  # fmt: skip
        self._all.append(started)
        return started

    def worker(self, name: str) -> subprocess.Popen[bytes]:
        command = ["worker", self.address, "--no-nanny", "--nthreads", "2", "--name", name, "--no-dashboard"]
        return self._start(command, self._folder / f"{name}.log", name)

    def close(self) -> None:
        for one in self._all:
            one.kill()
            one.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[_Cluster]:
    made = _Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def site(tmp_path: Path, cluster: _Cluster) -> Generator[Site]:
    plugins = {"clustered.py": PLUGIN.replace("{address}", cluster.address)}
    with site_at(tmp_path / "site", plugins=plugins, grace="300ms") as made:
        (made.plugins / "helper").mkdir()
        (made.plugins / "helper" / "__init__.py").write_text("def add(numbers):\n    return sum(numbers)\n")
        yield made


def _ended(daemon: Daemon) -> None:
    over = ("succeeded", "failed", "canceled")
    daemon.wait_until(lambda: all(run.state in over for run in daemon.runs()), "all runs have ended")


def _begun(daemon: Daemon, count: int) -> list[tuple[int, str]]:
    path = daemon.site.folder / "begun"

    def lines() -> list[tuple[int, str]] | None:
        found = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(int(pid), worker) for pid, worker in found] if len(found) >= count else None

    return daemon.wait_until(lines, f"begun {count} times")


def test_values_go_there_and_come_back_with_the_journal(site: Site) -> None:
    daemon = site.start().ready()
    site.cli_json("materialize", "above", "total", "below", "--wait")
    (run,) = daemon.runs()
    assert run.state == "succeeded"
    (path,) = (site.state / "values" / "below" / "@").glob("*.json")
    assert orjson.loads(path.read_bytes()) == 7
    lines = [
        orjson.loads(line) for line in (site.state / "runs" / str(run.id) / "journal.jsonl").read_bytes().splitlines()
    ]
    told = [line for line in lines if line["step"] == "total"]
    assert [line["text"] for line in told if line["stream"] == "stdout"] == ["on the cluster"]
    assert [line["message"] for line in told if line["stream"] == "state"] == ["started", "succeeded"]


def test_what_fails_there_has_failed_and_a_cluster_that_is_not_there_is_named(site: Site) -> None:
    daemon = site.start().ready()
    site.cli_json("call", "raises")
    site.cli_json("call", "nowhere")
    _ended(daemon)
    said = {run.target: str(run.model_dump()) for run in daemon.runs()}
    assert "not there either" in said["raises"] and "clustered.py" in said["raises"]
    assert "cannot be reached" in said["nowhere"]


def test_cancel_ends_its_processes_there(site: Site) -> None:
    daemon = site.start().ready()
    site.cli_json("call", "waits", "--param", f"folder={site.folder}")
    ((pid, _),) = _begun(daemon, 1)
    site.cli_json("cancel", str(daemon.runs()[0].id))
    _ended(daemon)
    assert daemon.runs()[0].state == "canceled"
    wait_until(lambda: not processes.alive(pid), "its process has ended")


def test_a_worker_that_is_killed_in_mid_run_costs_time_and_no_run(site: Site, cluster: _Cluster) -> None:
    daemon = site.start().ready()
    site.cli_json("call", "waits", "--param", f"folder={site.folder}")
    ((pid, worker),) = _begun(daemon, 1)
    cluster.workers[worker].send_signal(signal.SIGKILL)
    wait_until(lambda: not processes.alive(pid), "what it ran ends with it")
    (_, (again, other)) = _begun(daemon, 2)
    assert other != worker and processes.alive(again)
    (site.folder / "go").touch()
    _ended(daemon)
    (run,) = daemon.runs()
    assert run.state == "succeeded" and run.interruptions == 0
