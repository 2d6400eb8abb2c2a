"""Detached steps: they outlive their daemon, and the next one has their result."""

from __future__ import annotations

import signal
from collections.abc import Generator
from pathlib import Path

import orjson
import pytest
from tests.support import processes
from tests.support.daemon import Daemon, Site, site_at, wait_until

PLUGIN = """
import os, time
from pathlib import Path
from freshet import asset, job

@asset(executor="detached")
def above(ctx):
    print("begun")
    Path("begun").open("a").write(f"{os.getpid()}\\n")
    while not Path("go").exists():
        time.sleep(0.01)
    if Path("go").read_text() == "raise":
        raise ValueError("not this time")
    ctx.metadata(attempt=ctx.attempt)
    return [1, 2]

@asset
def below(above):
    return sum(above)

@job
def plain():
    Path("plain").open("a").write("x")
    while not Path("go").exists():
        time.sleep(0.01)

@job(executor="detached")
def calls(ctx):
    ctx.call("plain")

@job(executor="detached", timeout="500ms")
def slow():
    time.sleep(1000)
"""


@pytest.fixture
def site(tmp_path: Path) -> Generator[Site]:
    with site_at(tmp_path / "site", plugins={"detached.py": PLUGIN}, grace="300ms") as made:
        yield made


def _begun(daemon: Daemon, count: int = 1) -> list[int]:
    path = daemon.site.folder / "begun"
    return daemon.wait_until(
        lambda: (
            pids if path.exists() and len(pids := [int(one) for one in path.read_text().split()]) == count else None
        ),
        f"begun {count} times",
    )


def _go(site: Site, how: str = "") -> None:
    (site.folder / "go.part").write_text(how)
    (site.folder / "go.part").rename(site.folder / "go")


def _value(site: Site, asset: str) -> object:
    (path,) = (site.state / "values" / asset / "@").glob("*.json")
    return orjson.loads(path.read_bytes())


def _ended(daemon: Daemon) -> None:
    over = ("succeeded", "failed", "canceled")
    daemon.wait_until(lambda: all(run.state in over for run in daemon.runs()) and daemon.idle(), "all runs have ended")


def _left(site: Site) -> list[str]:
    return [path.name for path in (site.state / "detached").iterdir() if path.is_dir()]


def _sources(site: Site) -> list[Path]:
    return list((site.state / "detached").glob("plugins-*.json"))


def test_it_runs_and_what_needs_it_follows(site: Site) -> None:
    daemon = site.start().ready()
    _go(site)
    site.cli_json("materialize", "above", "below", "--wait")
    assert _value(site, "below") == 3 and _left(site) == []
    assert [run.state for run in daemon.runs()] == ["succeeded"]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_it_goes_on_when_the_daemon_ends_and_the_next_one_takes_its_result(site: Site, end: str) -> None:
    first = site.start().ready()
    site.cli_json("materialize", "above", "below")
    site.cli_json("call", "plain")
    (pid,) = _begun(first)
    first.wait_until(lambda: (site.folder / "plain").exists(), "the plain job runs")
    first.stop() if end == "stop" else first.kill()
    assert processes.alive(pid)
    second = site.start().ready()
    second.wait_until(lambda: (site.folder / "plain").read_text() == "xx", "what was cut off begins again")
    assert processes.alive(pid) and second.client.status().running == 2
    _go(site)
    _ended(second)
    assert _begun(second) == [pid]  # it ran once
    run = next(run for run in second.runs() if run.target != "plain")
    assert run.state == "succeeded" and run.interruptions == 0
    assert _value(site, "above") == [1, 2] and _value(site, "below") == 3
    assert _left(site) == [] and "adopted" in second.log_text()


def test_one_that_ended_while_no_daemon_was_there_has_ended_so(site: Site) -> None:
    first = site.start().ready()
    site.cli_json("materialize", "above")
    (pid,) = _begun(first)
    first.kill()
    _go(site, "raise")
    wait_until(lambda: any((site.state / "detached").glob("*/result.json")), "the result is there")
    wait_until(lambda: not processes.alive(pid), "its process is gone")
    second = site.start().ready()
    _ended(second)
    (run,) = second.runs()
    assert run.state == "failed" and "not this time" in str(run.model_dump())


def test_one_that_died_while_no_daemon_was_there_has_failed(site: Site) -> None:
    first = site.start().ready()
    site.cli_json("materialize", "above")
    _begun(first)
    first.kill()
    processes.kill(site.processes(), signal.SIGKILL)
    second = site.start().ready()
    _ended(second)
    (run,) = second.runs()
    assert run.state == "failed" and "without a result" in str(run.model_dump())


def test_cancel_ends_it_also_after_a_restart(site: Site) -> None:
    first = site.start().ready()
    site.cli_json("materialize", "above")
    (pid,) = _begun(first)
    first.stop()
    second = site.start().ready()
    (run,) = second.runs()
    site.cli_json("cancel", str(run.id))
    _ended(second)
    assert not processes.alive(pid) and second.runs()[0].state == "canceled" and _left(site) == []


@pytest.mark.parametrize("now", ["changed", "gone"])
def test_an_upgrade_with_other_definitions_leaves_it_its_own(site: Site, now: str) -> None:
    first = site.start().ready()
    site.cli_json("materialize", "above")
    (pid,) = _begun(first)
    first.kill()
    changed = PLUGIN.replace("[1, 2]", "[3, 4]").replace('@asset(executor="detached")', "@asset")
    (site.plugins / "detached.py").write_text(changed if now == "changed" else "")
    second = site.start().ready()
    assert processes.alive(pid) and second.client.status().running == 1
    in_force = 1 if now == "changed" else 0
    assert len(_sources(site)) == 1 + in_force  # its own are kept as long as it goes on
    _go(site)
    _ended(second)
    assert _begun(second) == [pid] and _left(site) == []
    (run,) = second.runs()
    assert (run.state, run.interruptions) == ("succeeded", 0)
    assert _value(site, "above") == [1, 2]  # of the code with which it began
    if now == "changed":
        site.cli_json("materialize", "above", "below", "--wait")
        assert _value(site, "below") == 7
    second.stop()
    site.start().ready()
    assert len(_sources(site)) == in_force


@pytest.mark.parametrize("end", ["cancel", "stop"])
def test_after_a_reload_that_makes_it_another_it_is_still_known_where_it_runs(site: Site, end: str) -> None:
    first = site.start().ready()
    site.cli_json("materialize", "above")
    (pid,) = _begun(first)
    (site.plugins / "detached.py").write_text(PLUGIN.replace('@asset(executor="detached")', "@asset"))
    assert site.cli("reload").returncode == 0
    if end == "cancel":
        site.cli_json("cancel", str(first.runs()[0].id))
        _ended(first)
        assert not processes.alive(pid) and first.runs()[0].state == "canceled" and _left(site) == []
        return
    first.stop()
    assert processes.alive(pid)
    second = site.start().ready()
    _go(site)
    _ended(second)
    (run,) = second.runs()
    assert (run.state, run.interruptions) == ("succeeded", 0) and _begun(second) == [pid]


def test_cancel_ends_it_though_its_code_is_gone(site: Site) -> None:
    first = site.start().ready()
    site.cli_json("materialize", "above")
    (pid,) = _begun(first)
    first.stop()
    (site.plugins / "detached.py").write_text("")
    second = site.start().ready()
    site.cli_json("cancel", str(second.runs()[0].id))
    _ended(second)
    assert not processes.alive(pid) and second.runs()[0].state == "canceled" and _left(site) == []


def test_it_asks_for_no_other_run(site: Site) -> None:
    daemon = site.start().ready()
    site.cli_json("call", "calls")
    _ended(daemon)
    (run,) = daemon.runs()
    assert run.state == "failed" and "apart from the daemon" in str(run.model_dump())


def test_its_timeout_counts_without_a_daemon(site: Site) -> None:
    first = site.start().ready()
    site.cli_json("call", "slow")
    first.wait_until(lambda: any((site.state / "detached").glob("*/begun.json")), "it has begun")
    first.kill()
    wait_until(lambda: any((site.state / "detached").glob("*/result.json")), "it has timed out")
    second = site.start().ready()
    _ended(second)
    assert "timed out after 500ms" in str(second.runs()[0].model_dump())
