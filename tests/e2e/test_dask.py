"""Steps on a Dask cluster: a real one, on loopback, with a worker that is killed."""

from __future__ import annotations

import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.support import processes
from tests.support.cluster import Cluster
from tests.support.daemon import Daemon, Site, site_at, wait_until

pytest.importorskip("distributed")

PLUGIN = """
import os, time
from pathlib import Path
import helper
from freshet import Dask, Retries, asset, job

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

@job(executor=CLUSTER, retries=Retries(1, delay="10ms"))
def says(ctx, folder: str):
    print("here is", ctx.attempt)
    ctx.progress(1, 2)
    waits.function(folder)
    print("and gone")

@job(executor=CLUSTER)
def maps(ctx, folder: str):
    def wait(item):
        while not os.path.exists(f"{folder}/go-{item}"):
            time.sleep(0.01)
        return item
    found = ctx.map(wait, ["a", "b"], limit=2, raising=False)
    print([type(one).__name__ for one in found])

@job(executor=CLUSTER)
def raises():
    raise ValueError("not there either")

@job(executor=Dask("tcp://127.0.0.1:1"))
def nowhere(): ...
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def site(tmp_path: Path, cluster: Cluster) -> Generator[Site]:
    plugins = {"clustered.py": PLUGIN.replace("{address}", cluster.address)}
    with site_at(tmp_path / "site", plugins=plugins, grace="300ms") as made:
        (made.plugins / "helper").mkdir()
        (made.plugins / "helper" / "__init__.py").write_text("def add(numbers):\n    return sum(numbers)\n")
        yield made


def _ended(daemon: Daemon) -> None:
    over = ("succeeded", "failed", "canceled")
    daemon.wait_until(lambda: all(run.state in over for run in daemon.runs()), "all runs have ended")


def _journal(site: Site, number: int) -> list[dict[str, Any]]:
    path = site.state / "runs" / str(number) / "journal.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [orjson.loads(line) for line in lines]


def _texts(site: Site, number: int) -> list[str]:
    return [line["text"] for line in _journal(site, number) if line["stream"] == "stdout"]


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


def test_a_worker_that_is_killed_in_mid_run_costs_time_and_no_run(site: Site, cluster: Cluster) -> None:
    daemon = site.start().ready()
    site.cli_json("call", "says", "--param", f"folder={site.folder}")
    ((pid, worker),) = _begun(daemon, 1)
    daemon.wait_until(lambda: _texts(site, daemon.runs()[0].id), "its journal is here")
    cluster.workers[worker].send_signal(signal.SIGKILL)
    wait_until(lambda: not processes.alive(pid), "what it ran ends with it")
    (_, (again, other)) = _begun(daemon, 2)
    assert other != worker and processes.alive(again)
    (site.folder / "go").touch()
    _ended(daemon)
    (run,) = daemon.runs()
    assert run.state == "succeeded" and run.interruptions == 0
    texts = [line["text"] for line in _journal(site, run.id) if line["stream"] == "stdout"]
    assert texts == ["here is 1", "here is 1", "and gone"]  # also what the lost one said
    cluster.start_workers()


def test_what_it_says_is_here_while_it_runs_and_once(site: Site) -> None:
    daemon = site.start().ready()
    site.cli_json("call", "says", "--param", f"folder={site.folder}")
    number = daemon.runs()[0].id
    daemon.wait_until(lambda: "here is 1" in _texts(site, number), "its journal is here")
    assert daemon.runs()[0].state == "started"
    (site.folder / "go").touch()
    _ended(daemon)
    lines = _journal(site, number)
    told = [line.get("text") or line.get("message") or line["stream"] for line in lines]
    assert told == ["started", "here is 1", "progress", "and gone", "succeeded"]


def test_one_item_is_canceled_there_and_the_others_go_on(site: Site) -> None:
    daemon = site.start().ready()
    site.cli_json("call", "maps", "--param", f"folder={site.folder}")
    number = daemon.runs()[0].id

    def states() -> list[str]:
        return [one.state for call in daemon.client.items(number, None, 10) for one in call.items]

    daemon.wait_until(lambda: states() == ["running", "running"], "both are at work")
    assert site.cli("items", str(number), "--cancel", "0").returncode == 0
    daemon.wait_until(lambda: states() == ["canceled", "running"], "one is ended")
    (site.folder / "go-b").touch()
    _ended(daemon)
    assert daemon.runs()[0].state == "succeeded" and states() == ["canceled", "succeeded"]
    assert _texts(site, number) == ["['ItemsFailed', 'str']"]


def test_where_the_scheduler_is_lost_the_attempt_is_interrupted_and_the_next_one_waits_for_it(
    site: Site, cluster: Cluster
) -> None:
    daemon = site.start().ready()
    site.cli_json("call", "waits", "--param", f"folder={site.folder}")
    ((pid, _),) = _begun(daemon, 1)
    cluster.scheduler.kill()
    wait_until(lambda: not processes.alive(pid), "what ran there ends with its workers")
    cluster.scheduler.wait()
    cluster.start_scheduler()
    cluster.start_workers()
    _begun(daemon, 2)
    (site.folder / "go").touch()
    _ended(daemon)
    (run,) = daemon.runs()
    assert (run.state, run.interruptions) == ("succeeded", 1)
    site.cli_json("materialize", "above", "total", "below", "--wait")
    assert daemon.runs()[0].state == "succeeded"


def test_the_cluster_runs_the_code_that_is_in_force(site: Site) -> None:
    daemon = site.start().ready()
    file, text = site.plugins / "clustered.py", (site.plugins / "clustered.py").read_text()
    assert site.cli("materialize", "above", "--wait").returncode == 0
    for said in ("on the cluster", "said anew", "and anew again", "on the cluster"):
        before = daemon.client.status().definitions_version
        edited = text.replace('print("on the cluster")', f'print("{said}")')
        if edited != file.read_text():
            file.write_text(edited)
            daemon.wait_until(lambda before=before: daemon.client.status().definitions_version != before, "reloaded")  # type: ignore[misc]
        assert site.cli("materialize", "total", "--wait").returncode == 0
        run = daemon.runs("total")[0].id
        assert f"{said}\n" in site.cli("logs", str(run)).stdout
    assert daemon.stop() == 0
