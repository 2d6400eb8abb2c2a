"""The commands against a daemon's real sockets."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.http.hand_control import DEFINITIONS, Served, served_in

from freshet.cli.app import run
from freshet.engine.control import TickReport
from freshet.executors.base import LoadProblem, LoadReport


@dataclass
class Said:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Said]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with served_in(tmp_path) as found:
        yield found


@pytest.fixture
def cli(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    def call(*argv: str) -> Said:
        status = run(["--config", str(tmp_path / "freshet.toml"), *argv])
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return call


def test_status_shows_what_is_wrong(served: Served, cli: Cli) -> None:
    served.control.problem = "no space \x1b[31mleft"
    problem = LoadProblem("it is [bold]broken", hint="mend it", file="/plugins/a.py", line=3)
    served.control.load_report = LoadReport(DEFINITIONS, problems=(problem,))
    served.call(served.control.pause, "landing")
    said = cli("status")
    assert said.status == 0
    first, second, *_ = said.out.splitlines()
    assert first == f"freshet   1.2.3  degraded (up 1m), pid {os.getpid()}", "its own, not its host's"
    assert second == "problem   no space \\x1b[31mleft"
    assert "0 running (2 slots), 0 queued" in said.out
    assert "paused: landing" in said.out
    assert "/plugins/a.py:3: it is [bold]broken (mend it)" in said.out
    assert cli("status", "--json").json["problem"] == "no space \x1b[31mleft"


def test_status_shows_what_failed(served: Served, cli: Cli) -> None:
    assert "1.2.3  ready for 1m" in cli("status").out
    cli("partitions", "batches", "add", "a")
    cli("materialize", "raw_orders", "--partition", "a")
    served.call(served.control.end, 1, "failed", {"type": "ValueError", "message": "no"})
    served.control.state = "stopping"
    said = cli("status").out
    assert "1.2.3  stopping (up 1m)" in said
    assert "failed in the last hour: 1" in said
    assert "failed: raw_orders (1)" in said
    assert "schedules 0" in said


def test_global_options_stand_before_or_after(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(tmp_path / "freshet.toml")
    url = "http://127.0.0.1:1"
    for argv in (
        ["--json", "--config", config, "sensors"],
        ["sensors", "--json", "--config", config],
        ["--config", config, "sensors", "--json"],
        ["--url", url, "--config", config, "sensors", "--json"],
        ["sensors", "--url", url, "--json", "--config", config],
    ):
        status = run(argv)
        out, err = capsys.readouterr()
        if "--url" in argv:
            assert (status, url in json.loads(err)["error"]["message"]) == (1, True)
        else:
            assert (status, [one["name"] for one in json.loads(out)]) == (0, ["landing", "shaky"])


def test_assets_sensors_and_partitions_are_listed(served: Served, cli: Cli) -> None:
    assert cli("partitions", "batches", "add", "a", "[red]b", "--metadata", '{"path": "x\\u001b"}').out == "2 added\n"
    assert "sales" in cli("assets").out
    assert cli("assets", "sales", "--json").json["name"] == "sales"
    assert "FileSensor" in cli("sensors", "landing").out
    listed = cli("partitions", "batches").out
    assert "[red]b" in listed
    assert '{"path": "x\\u001b"}' in listed
    assert "\x1b" not in listed
    assert cli("partitions", "batches", "--limit", "1").out.endswith("more: freshet partitions batches --after 1\n")
    assert "batches" in cli("partitions").out
    assert cli("partitions", "batches", "delete", "a").out == "1 deleted\n"
    assert [one["count"] for one in cli("partitions", "--json").json] == [1, 2]


def test_wide_rows_are_not_cut_in_a_pipe(cli: Cli) -> None:
    key = "k" * 200
    cli("partitions", "batches", "add", key, "--metadata", json.dumps({"path": "p" * 300}))
    out = cli("partitions", "batches").out
    assert key in out
    assert "p" * 300 in out


def test_a_failing_sensor_shows_its_error(served: Served, cli: Cli) -> None:
    error = {"type": "ValueError", "message": "no", "traceback": "Traceback\n  \x1b[31mline"}
    served.call(served.control.fail, "shaky", error)
    out = cli("sensors").out
    assert "failing (2 times)" in out
    assert "shaky: ValueError: no\n" in out
    assert "Traceback" not in out
    assert "shaky: Traceback\n  \\x1b[31mline" in cli("sensors", "shaky").out
    served.call(served.control.look_since, "shaky", time.time() - 20 * 60 + 30)
    assert re.search(r"looking for (19|20)m", cli("sensors").out), "however long the question takes"


def test_metadata_is_an_object(cli: Cli) -> None:
    for given in ("{bad", "[1]"):
        said = cli("partitions", "batches", "add", "a", "--metadata", given)
        assert said.status == 2
        assert "a JSON object" in said.err
        assert """hint: --metadata '{"path": "a.csv"}'""" in said.err


def test_runs_are_listed_and_shown(served: Served, cli: Cli) -> None:
    assert cli("runs").out == "no runs\n"
    cli("partitions", "batches", "add", "é [i]")
    assert "run 1" in cli("materialize", "raw_orders", "--partition", "é [i]").out
    served.call(served.control.end, 1, "failed", {"type": "ValueError", "message": "no \x07"})
    row = cli("runs").out
    assert "é [i]" in row
    assert "failed" in row
    assert cli("runs", "--state", "succeeded").out == "no runs\n"
    assert cli("runs", "--target", "raw_orders", "--json").json[0]["id"] == 1
    one = cli("runs", "1").out
    assert "raw_orders: ValueError: no \\x07" in one
    assert cli("runs", "1", "--json").json["steps"][0]["state"] == "failed"


def test_a_run_of_several_assets_names_the_step(served: Served, cli: Cli) -> None:
    cli("partitions", "batches", "add", "a")
    cli("materialize", "clean_orders", "--partition", "a", "--upstream")
    served.call(served.control.back_off, 1, time.time() + 100)
    assert "retrying in 1m40s (attempt 2)" in cli("runs").out
    assert [one["id"] for one in cli("runs", "--target", "raw_orders", "--json").json] == [1]
    served.call(served.control.begin, 1)
    served.call(partial(served.control.end, 1, "failed", {"type": "E", "message": "m"}, attempt=2))
    assert "failed (raw_orders)" in cli("runs").out


def test_an_asset_never_made_says_so(served: Served, cli: Cli) -> None:
    assert "never made, lapses in " in next(line for line in cli("assets").out.splitlines() if "sales" in line)


@pytest.mark.parametrize("argv", [("logs", "1", "-f"), ("materialize", "sales", "--wait"), ("--json", "wait")])
def test_who_waits_hears_that_only_a_restart_helps(served: Served, cli: Cli, argv: tuple[str, ...]) -> None:
    served.control.slots = 0
    cli("materialize", "sales")
    served.control.problem, served.control.needs_restart = "the plugins changed", True
    said = cli("materialize", "sales", "--wait", "--json") if argv[0] == "--json" else cli(*argv)
    assert said.status == 1
    assert "nothing starts any more: the plugins changed" in said.err
    assert "restart Freshet" in said.err


def test_who_waits_hears_what_for_and_when_that_changes(served: Served, cli: Cli) -> None:
    served.control.slots = 0
    cli("materialize", "sales")

    async def go_on() -> None:
        await served.control.until_asked(1)
        served.control.problem = "no code host"
        await served.control.until_asked(2)
        await served.control.begin(1)
        await served.control.end(1)

    ended = served.soon(go_on)
    said = cli("logs", "1", "-f")
    ended.result(timeout=60)
    assert said.status == 0
    assert said.err.splitlines()[:2] == ["run 1 waits for a slot (2 of 2 in use)", "run 1 waits: no code host"]


def test_logs_show_the_journal(served: Served, cli: Cli) -> None:
    run_id = cli("call", "notify", "--param", "order_id=1", "--json").json["runs"][0]
    journal = served.settings.state_dir / "runs" / str(run_id) / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text(
        '{"t": 1, "step": "notify", "attempt": 1, "stream": "stdout", "text": "a\\u001b[31m"}\n{"t": 2}\n'
    )
    assert cli("logs", str(run_id)).out.splitlines()[0].endswith("notify | a\\x1b[31m")
    assert cli("logs", str(run_id), "--tail", "1", "--json").out == '{"t": 2}\n'
    served.call(served.control.end, run_id)
    assert len(cli("logs", str(run_id), "-f").out.splitlines()) == 2


@pytest.mark.parametrize(("outcome", "status"), [("succeeded", 0), ("failed", 1)])
def test_waiting_prints_the_journal_and_ends_with_the_run(
    served: Served, cli: Cli, outcome: Literal["succeeded", "failed"], status: int
) -> None:
    journal = served.settings.state_dir / "runs" / "1" / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text('{"t": 1, "step": "notify", "attempt": 1, "stream": "stdout", "text": "working"}\n')

    async def end() -> None:
        await served.control.until_watched()
        await served.control.end(1, outcome, {"type": "ValueError", "message": "no"})

    ended = served.soon(end)
    said = cli("call", "notify", "--param", "order_id=1", "--wait")
    ended.result(timeout=60)
    assert said.status == status
    assert "notify | working" in said.out
    assert f"run 1 {outcome}" in said.out
    assert ("notify failed: ValueError: no" in said.out) == (outcome == "failed")


def test_waiting_as_json_prints_the_runs(served: Served, cli: Cli) -> None:
    async def end() -> None:
        await served.control.until_watched()
        await served.control.end(1)

    ended = served.soon(end)
    said = cli("materialize", "sales", "--wait", "--json")
    ended.result(timeout=60)
    assert (said.status, said.json[0]["state"]) == (0, "succeeded")


def test_cancel(served: Served, cli: Cli) -> None:
    cli("materialize", "sales")
    assert cli("cancel", "1").out == "run 1 is canceling\n"
    assert cli("cancel", "9").status == 1


def test_a_tick_by_hand(served: Served, cli: Cli) -> None:
    assert cli("tick", "landing").out.splitlines() == ["landing: ok", 'cursor: null -> {"seen": 1}']
    dry = cli("tick", "landing", "--dry-run", "--cursor", "5").out.splitlines()
    assert dry == ["landing: ok (dry run)", 'cursor: 5 -> {"seen": 1}']
    served.control.report = TickReport(
        "landing",
        "failed",
        True,
        None,
        None,
        runs=({"target": "raw_orders", "partition": "\x1b", "run_key": None},),
        dropped=(
            {"target": "raw_orders", "partition": "a", "run_key": "k\x1b", "held_by": 7},
            {"target": "notify", "partition": None, "run_key": "j", "held_by": None},
        ),
        ledger_added=2,
        skip="nothing [b]new",
        error={"type": "E", "message": "m", "traceback": "T\nB"},
    )
    said = cli("tick", "landing")
    assert said.status == 1
    assert said.out.splitlines() == [
        "landing: failed (dry run)",
        "skipped: nothing [b]new",
        'would run: {"target": "raw_orders", "partition": "\\u001b"}',
        'would be dropped: raw_orders [a]: run_key "k\\u001b" made run 7',
        'would be dropped: notify: run_key "j" is asked for twice',
        "ledger: 2 added, 0 removed",
        "T",
        "B",
    ]


def test_cursor_pause_and_resume(cli: Cli) -> None:
    assert cli("cursor", "set", "landing", '{"a": 1}').json == {"a": 1}
    assert cli("cursor", "get", "landing").json == {"a": 1}
    shown = cli("cursor", "get", "landing", "--json").json
    assert shown == {"sensor": "landing", "cursor": {"a": 1}, "revision": 1, "has_ledger": False}
    assert cli("cursor", "history", "landing").out == "no tick has had an effect or failed\n"
    preview = cli("cursor", "rollback", "landing", "--to", "12", "--dry-run").out
    assert "would be rolled back to the end of tick 12" in preview
    assert "cursor: 9 -> 4" in preview
    assert "raw [a]: a.csv, run 7" in preview
    assert "stay taken" in preview
    assert "may run once more" in cli("cursor", "rollback", "landing", "--to", "12", "--again").out
    assert cli("pause", "landing").out == "landing is paused\n"
    assert cli("resume", "landing").out == "landing is ok\n"
