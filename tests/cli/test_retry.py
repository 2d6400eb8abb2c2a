"""`freshet retry RUN` against a whole engine: what a run did not make, once more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.support.served import ServedEngine, served_engine

from freshet import DynamicPartitions, RunRequest, asset, job, sensor
from freshet.store.records import StepToRun

DAYS = DynamicPartitions("days")
BAD = set[str]()
SEEN = Counter[str]()


@asset(partitions=DAYS)
def raw(ctx: Any) -> int:
    return _made("raw")


@asset(partitions=DAYS)
def clean(ctx: Any, raw: int) -> int:
    return _made("clean") + raw


@asset
def total(clean: dict[str, int]) -> int:
    return _made("total")


@job
def notify(number: int) -> None:
    _made(f"notify {number}")


@sensor(interval="1h", target=notify)
def orders(ctx: Any) -> Any:
    yield RunRequest(run_key="7", params={"number": 7}, tags={"team": "sales"}, priority=3)


def _made(name: str) -> int:
    SEEN[name] += 1
    if name in BAD:
        raise ValueError(f"no {name}")
    return 1


def lasting(_: StepToRun) -> float:
    return 1.0


@pytest.fixture
def served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Generator[ServedEngine]:
    BAD.clear()
    BAD.update({"clean", "notify 7"})
    SEEN.clear()
    with served_engine(tmp_path, [raw, clean, total, notify, orders], capsys, duration=lasting) as one:
        one.advance(10)
        yield one


def test_a_failed_request_runs_again_as_it_was_and_its_run_key_stays_taken(served: ServedEngine) -> None:
    cli = served.cli
    (first,) = json.loads(cli("runs", "--json").out)
    assert (first["state"], first["run_key"]) == ("failed", "7")
    BAD.clear()
    assert cli("retry", "1").out == "run 2 (freshet logs 2 -f follows it)\n"
    served.advance(10)
    again, _ = json.loads(cli("runs", "--json").out)
    assert {name: again[name] for name in ("state", "origin", "run_key", "params", "tags", "priority")} == {
        "state": "succeeded",
        "origin": "retry:1",
        "run_key": None,
        "params": {"number": 7},
        "tags": {"team": "sales"},
        "priority": 3,
    }
    assert "made run 1" in cli("tick", "orders", "--dry-run").out
    assert SEEN == {"notify 7": 2}


def test_only_the_steps_that_did_not_succeed_are_made_again(served: ServedEngine) -> None:
    cli = served.cli
    assert cli("partitions", "days", "add", "mon").status == 0
    assert cli("materialize", "raw", "--partition", "mon", "--downstream").status == 0
    served.advance(10)
    failed = json.loads(cli("runs", "2", "--json").out)
    assert [(step["name"], step["state"]) for step in failed["steps"]] == [
        ("raw", "succeeded"),
        ("clean", "failed"),
        ("total", "skipped"),
    ]
    BAD.clear()
    SEEN.clear()
    assert cli("retry", "2", "--json").json == {"runs": [3]}
    served.advance(10)
    again = json.loads(cli("runs", "3", "--json").out)
    assert (again["state"], again["partition"]) == ("succeeded", "mon")
    assert SEEN == {"clean": 1, "total": 1}


def test_what_was_canceled_runs_again(served: ServedEngine) -> None:
    cli = served.cli
    BAD.clear()
    cli("call", "notify", "--param", "number=8")
    cli("cancel", "2")
    served.advance(10)
    assert json.loads(cli("runs", "2", "--json").out)["state"] == "canceled"
    SEEN.clear()
    assert cli("retry", "2").status == 0
    served.advance(10)
    assert json.loads(cli("runs", "3", "--json").out)["state"] == "succeeded"
    assert SEEN == {"notify 8": 1}


def test_what_has_not_ended_or_has_succeeded_is_refused(served: ServedEngine) -> None:
    cli = served.cli
    cli("call", "notify", "--param", "number=8")
    said = cli("retry", "2")
    assert (said.status, "run 2 has not ended (started)" in said.err) == (1, True), said.err
    served.advance(10)
    said = cli("retry", "2")
    assert (said.status, "run 2 has succeeded" in said.err) == (1, True), said.err
    assert "freshet retry 2 --all makes it once more" in said.err


def test_all_of_a_run_is_made_again_if_that_is_asked_for(served: ServedEngine) -> None:
    cli = served.cli
    cli("partitions", "days", "add", "mon")
    cli("materialize", "raw", "--partition", "mon", "--downstream")
    served.advance(10)
    BAD.clear()
    for run, flag in ((3, "--all"), (4, "--all")):
        SEEN.clear()
        assert cli("retry", str(run - 1), flag, "--json").json == {"runs": [run]}
        served.advance(10)
        again = json.loads(cli("runs", str(run), "--json").out)
        assert (again["state"], again["partition"], again["origin"]) == ("succeeded", "mon", f"retry:{run - 1}")
        assert SEEN == {"raw": 1, "clean": 1, "total": 1}
    assert cli("retry", "backfill:1", "--all").status == 2


def test_from_failure_is_what_it_does_anyway(served: ServedEngine) -> None:
    BAD.clear()
    assert served.cli("retry", "1", "--from-failure", "--json").json == {"runs": [2]}


def test_a_run_of_many_partitions_points_to_its_backfill(served: ServedEngine) -> None:
    cli = served.cli
    cli("partitions", "days", "add", "mon", "tue")
    cli("backfill", "raw", "clean", "--all", "--single-run", "--no-wait")
    served.advance(10)
    assert json.loads(cli("runs", "2", "--json").out)["state"] == "failed"
    assert "freshet retry backfill:1 makes what is left" in cli("retry", "2").err
