"""Backfills over the API and the CLI: a whole engine behind real sockets, in virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import httpx
import pytest
from structlog.testing import capture_logs
from tests.engine.rig import Rig, rig

from freshet import All, Dep, DynamicPartitions, TimePartitions, asset
from freshet.cli.app import run
from freshet.configuration import Settings, load_settings
from freshet.http.serve import serve
from freshet.http.sockets import bind
from freshet.http.unixpath import reachable
from freshet.store.records import StepToRun

DAYS = [f"2026-03-{day:02}" for day in range(1, 31)]


@dataclass
class Served:
    """An engine behind its socket, on a loop of another thread. `bad`: days that fail; `slow`: seconds of a step."""

    one: Rig
    settings: Settings
    portal: anyio.from_thread.BlockingPortal
    config: Path
    bad: set[str]
    slow: list[float]

    def advance(self, seconds: float) -> None:
        self.portal.call(self.one.advance, seconds)

    def settle(self) -> None:
        self.portal.call(self.one.settle)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    days, bad, slow = DynamicPartitions("days"), set[str](), [0.0]

    @asset(partitions=days)
    def raw(ctx: Any) -> str:
        if ctx.partition.key in bad:
            raise ValueError("no such day")
        return str(ctx.partition.key)

    @asset(partitions=days)
    def clean(raw: str) -> str:
        return raw

    @asset(partitions=TimePartitions("daily", start="2025-12-20", timezone="UTC", name="dates"))
    def dated() -> int:
        return 1

    @asset(partitions=days, deps=[Dep(dated, mapping=All())])
    def mixed() -> int:
        return 1

    def duration(_: StepToRun) -> float:
        return slow[0]

    config = tmp_path / "freshet.toml"
    config.write_text(f'state_dir = "{tmp_path}/state"\nplugins_dir = "."\n[http]\nport = 0\n')
    settings = load_settings(config)
    settings.state_dir.mkdir()
    with capture_logs(), anyio.from_thread.start_blocking_portal(backend_options={"use_uvloop": True}) as portal:
        engine = portal.wrap_async_context_manager(rig(tmp_path, [raw, clean, dated, mixed], duration=duration))
        with engine as one:
            portal.call(_add_days, one)
            portal.call(one.settle)
            sockets, scope = bind(settings), portal.call(_scope)
            serving = portal.start_task_soon(_serve, scope, one, settings, sockets)
            try:
                yield Served(one, settings, portal, config, bad, slow)
            finally:
                portal.call(scope.cancel)
                serving.result(timeout=10)


async def _add_days(one: Rig) -> None:
    await one.control.add_partitions("days", {day: {} for day in DAYS})


async def _scope() -> anyio.CancelScope:
    return anyio.CancelScope()


async def _serve(scope: anyio.CancelScope, one: Rig, settings: Settings, sockets: Any) -> None:
    ready = anyio.Event()
    ready.set()
    with scope:
        await serve(one.control, settings, ready=ready, sockets=sockets)


@dataclass
class Said:
    status: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def cli(served: Served, capsys: pytest.CaptureFixture[str]) -> Cli:
    def call(*argv: str) -> Said:
        status = run(["--config", str(served.config), *argv])
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return call


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with reachable(served.settings.socket_path) as path:
        transport = httpx.HTTPTransport(uds=path)
        with httpx.Client(transport=transport, base_url="http://x/api/v1/", timeout=20) as client:
            yield client


def test_a_backfill_says_its_plan_and_goes_its_way(served: Served, cli: Cli) -> None:
    said = cli("backfill", "raw", "--partitions", "2026-03-01..2026-03-10", "--downstream")
    assert said.status == 0, said.err
    first, *rest = said.out.splitlines()
    assert first == "backfill 1: 20 partitions in 10 runs"
    assert rest[:2] == ["  raw: 10", "  clean: 10"]
    served.settle()
    said = cli("backfills", "1")
    assert said.out.splitlines()[0] == "backfill 1 succeeded: 20 of 20 done"
    assert "2026-03-01..2026-03-10" in cli("backfills").out


def test_a_plan_says_what_of_the_range_is_not_there(cli: Cli) -> None:
    said = cli("backfill", "dated", "--partitions", "2025-12-30..2026-01-05")
    assert said.out.splitlines()[0] == (
        "backfill 1: 2 partitions in 2 runs (2026-01-05 is not closed yet: the last is 2025-12-31)"
    )
    said = cli("backfill", "dated", "--partitions", "2025-12-01..2025-12-21", "--json")
    assert json.loads(said.out)["notes"] == ["dates begins at 2025-12-20"]


def test_what_cannot_go_in_one_run_is_a_backfill(served: Served, cli: Cli) -> None:
    said = cli("materialize", "mixed", "--partition", "2026-03-04", "--upstream")
    assert said.status == 1
    remedy = "freshet backfill mixed --partitions 2026-03-04 --upstream"
    assert remedy in said.err
    assert cli(*remedy.split()[1:], "--wait").status == 0
    assert [run.target for run in served.portal.call(served.one.runs)] == ["dated"] * 12 + ["mixed"]


def test_waiting_ends_with_it(served: Served, cli: Cli) -> None:
    served.bad.add("2026-03-04")
    said = cli("backfill", "raw", "clean", "--all", "--wait")
    assert said.status == 1
    assert "backfill 1 failed: 58 of 60 done, 1 failed, 1 blocked" in said.out
    assert "1 failed, 1 blocked below them; freshet retry backfill:1 makes what is left" in said.out
    served.bad.clear()
    said = cli("retry", "backfill:1", "--wait")
    assert said.status == 0
    assert "backfill 2: 2 partitions in 1 run\n  raw: 1\n  clean: 1\n" in said.out
    assert cli("backfills", "2", "--wait").status == 0
    assert "backfill 2 was begun to make what was left" in cli("backfills", "1").out
    assert "nothing is left: backfill 2 made it" in cli("retry", "backfill:1").err


def test_waiting_as_json_is_a_line_each(served: Served, cli: Cli) -> None:
    said = cli("backfill", "raw", "--missing", "--wait", "--json")
    *_, last = map(json.loads, said.out.splitlines())
    assert (said.status, last["state"], last["progress"][0]["done"]) == (0, "succeeded", 30)
    said = cli("backfill", "raw", "--all", "--json")
    assert json.loads(said.out)["planned_runs"] == 30


def test_a_backfill_is_paused_resumed_and_canceled(served: Served, cli: Cli) -> None:
    served.slow[0] = 1.0
    assert cli("backfill", "raw", "--all", "--tag", "team=sales", "--priority", "2", "--no-wait").status == 0
    assert cli("pause", "backfill:1").out == "backfill 1 is paused\n"
    served.advance(60)
    assert "8 of 30 done, 22 left" in cli("backfills", "1").out
    assert cli("resume", "backfill:1").out == "backfill 1 is running\n"
    served.advance(2.5)
    assert "about" in cli("backfills", "1").out
    assert cli("cancel", "backfill:1").out == "backfill 1 is canceled\n"
    assert "freshet retry backfill:1 makes what is left" in cli("backfills", "1").out
    runs = json.loads(cli("runs", "--json").out)
    assert {(run["origin"], run["priority"], run["tags"]["team"]) for run in runs} == {("backfill:1", 2, "sales")}


def test_ctrl_c_leaves_it_running(served: Served, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    served.slow[0] = 1.0
    monkeypatch.setattr("freshet.cli.backfill_watch.time.sleep", interrupted)
    said = cli("backfill", "raw", "--all", "--wait")
    assert said.status == 130
    assert said.err == "backfill 1 goes on: freshet backfills 1 --wait\n"
    served.advance(60)
    assert "backfill 1 succeeded: 30 of 30 done" in cli("backfills", "1").out


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (("backfill", "raw"), 2, "give one of --partitions A..B, --all, --missing, --failed"),
        (("backfill", "raw", "--all", "--failed"), 2, "--all and --failed together"),
        (("backfill", "raw", "--all", "--tag", "x"), 2, "--tag 'x' is not K=V"),
        (("backfill", "raw", "--partitions", "2026-03-04..2026-03-01"), 1, "write 2026-03-01..2026-03-04"),
        (("backfill", "row", "--all"), 1, "did you mean 'raw'?"),
        (("backfill", "raw", "--partitions", "../../etc"), 1, "'../../etc'"),
        (("backfill", "raw", "--partitions", "2026-03-01..../etc/passwd"), 1, "'2026-03-01..../etc/passwd'"),
        (("backfill", "raw", "--partitions", "../etc"), 1, "no key '/etc', nor '../etc'"),
        (("backfill", "dated", "--partitions", "2026-01-05"), 1, "is not closed yet: it is from 2026-01-06T00:00"),
        (("backfill", "raw", "--failed"), 1, "nothing of raw has failed"),
        (("backfills", "9"), 1, "there is no backfill 9"),
        (("backfills", "--wait"), 2, "freshet backfills ID --wait"),
        (("pause", "backfill:x"), 2, "write backfill:ID"),
        (("retry", "12"), 1, "there is no run 12"),
        (("retry", "x"), 2, "give a run's number, or backfill:ID"),
        (("cancel", "x"), 2, "give a run's number, or backfill:ID"),
        (("cancel", "backfill:9"), 1, "there is no backfill 9"),
    ],
)
def test_what_cannot_be_says_what_can(cli: Cli, argv: tuple[str, ...], status: int, says: str) -> None:
    said = cli(*argv)
    assert said.status == status
    assert says in said.err


def test_the_api_begins_shows_and_changes_them(served: Served, http: httpx.Client) -> None:
    served.slow[0] = 1.0
    body = {"assets": ["raw"], "partitions": "2026-03-02,2026-03-05"}
    answer = http.post("backfills", json=body)
    assert answer.status_code == 201
    assert answer.json()["progress"] == [
        {"asset": "raw", "wanted": 2, "done": 0, "failed": 0, "in_flight": 0, "blocked": 0, "left": 2}
    ]
    served.settle()
    found = http.get("backfills/1").json()
    assert (found["state"], found["runs"], found["partitions"]) == ("running", [1, 2], "2026-03-02,2026-03-05")
    assert http.get("backfills").json() == [found]
    assert http.post("backfills/1/retry").status_code == 409
    assert http.post("backfills/1/cancel").json()["state"] == "canceled"
    assert http.post("backfills/1/pause").json()["error"]["type"] == "Conflict"
    assert http.post("backfills/1/retry").status_code == 201
    assert [one["id"] for one in http.get("backfills?before=2").json()] == [1]
    assert http.get("backfills/99").json()["error"]["hint"]
    assert http.post("backfills", json={"assets": ["raw"], "select": "some"}).status_code == 422
