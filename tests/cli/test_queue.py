"""`freshet pools`, `pool` and `priority` against a whole engine."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.support.served import ServedEngine, served_engine

from freshet import Pool, job
from freshet.definitions.limits import Limits, PoolLimit
from freshet.definitions.pool import Rate
from freshet.store.records import StepToRun


@job(pool=Pool("db", slots=2))
def query() -> None: ...


@job
def work() -> None: ...


def lasting(_: StepToRun) -> float:
    return 10.0


@pytest.fixture
def served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Generator[ServedEngine]:
    limits = Limits({"db": PoolLimit(3), "api": PoolLimit(5, Rate(10, 900.0))})
    with served_engine(tmp_path, [query, work], capsys, duration=lasting, limits=limits, workers=1) as one:
        yield one


def test_pools_are_shown_as_they_stand(served: ServedEngine) -> None:
    cli = served.cli
    for _ in range(3):
        assert cli("call", "query").status == 0
    found = {one["name"]: one for one in json.loads(cli("pools", "--json").out)}
    assert found["db"] == {"name": "db", "slots": 3, "in_use": 2, "waiting": 2, "status": "open", "rate": None}
    assert found["api"]["rate"] == {"count": 10, "seconds": 900.0}
    assert "10/15min" in cli("pools").out
    assert "waits for the pool db (2 of 3 in use)" in cli("runs", "2").out


def test_a_pool_is_paused_drained_and_resumed(served: ServedEngine) -> None:
    cli = served.cli
    for _ in range(2):
        cli("call", "query")
    assert cli("pool", "db", "--pause", "--json").json["status"] == "paused"
    assert "the pool db is paused; freshet pool db --resume lets it go on" in cli("runs", "2").out
    served.advance(60)
    assert cli("pool", "db", "--drain", "--json").json["status"] == "drained"
    assert cli("runs", "2", "--json").json["state"] == "queued"
    assert cli("pool", "db", "--resume", "--json").json["status"] == "open"
    served.advance(60)
    assert cli("runs", "2", "--json").json["state"] == "succeeded"


def test_the_priority_of_a_queued_run_is_changed(served: ServedEngine) -> None:
    cli = served.cli
    for _ in range(3):
        cli("call", "work")
    assert "at priority 9" in cli("priority", "3", "9").out
    served.advance(15)
    assert [one["state"] for one in cli("runs", "--json").json] == ["started", "queued", "succeeded"]


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        (("pool", "dp"), 1, "there is no pool 'dp'"),
        (("pool", "dp", "--pause"), 1, "known are: api, db"),
        (("pool", "db", "--pause", "--resume"), 2, "three things"),
        (("priority", "99", "1"), 1, "there is no run 99"),
    ],
)
def test_mistakes_are_named(served: ServedEngine, command: tuple[str, ...], status: int, says: str) -> None:
    done = served.cli(*command)
    assert done.status == status
    assert says in done.err
