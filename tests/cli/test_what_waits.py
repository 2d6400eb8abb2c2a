"""What the CLI says of hooks and sensors where something waits, was dropped or is in the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.support.served import ServedEngine, served_engine

from freshet import RunRequest, job, sensor
from freshet.store.records import NewDelivery, StepToRun
from freshet_sensors import WebhookSensor


@job
def note(n: int) -> None: ...


@job
def write(
    why: str, count: int | str = 0, day: Literal["1", "mon"] = "mon", data: Any = None, on: bool = False
) -> None: ...


@sensor(interval="1m", target=note, overlap="skip")
def often(ctx: Any) -> Any:
    yield RunRequest(params={"n": ctx.cursor or 0})
    ctx.cursor = (ctx.cursor or 0) + 1


@sensor(interval="1h")
def rows(ctx: Any) -> None:
    ctx.ledger.add("a")


gh = WebhookSensor("gh", path="of/gh", scheme="none", target=note, interval="1s")
gl = WebhookSensor("gl", path="of/gl", scheme="github", secret=["env:NO_SECRET_1", "env:NO_SECRET_2"], target=note)


def lasting(_: StepToRun) -> float:
    return 150.0


@pytest.fixture
def served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Generator[ServedEngine]:
    with served_engine(tmp_path, [note, write, often, rows, gh, gl], capsys, duration=lasting) as one:
        yield one


def deliver(served: ServedEngine, id: str, **payload: Any) -> None:
    hook = served.rig.engine.inbox.hook("of/gh")
    assert hook is not None
    body = json.dumps(payload).encode()
    new = NewDelivery(hook.ticker, id, hashlib.sha256(body).digest(), body, served.rig.clock.now(), "application/json")
    served.portal.call(served.rig.engine.inbox.keep, new)


def test_what_gives_way_to_a_run_is_in_the_history(served: ServedEngine) -> None:
    served.advance(125)
    first, *_, begun = served.cli("cursor", "history", "often").out.splitlines()[2:]
    assert "dropped: note: run 1 is under way" in first
    assert "dropped" not in begun
    counts = [len(one["dropped"] or []) for one in json.loads(served.cli("cursor", "history", "often", "--json").out)]
    assert counts == [1, 1, 0]


def test_a_cursor_that_is_set_beside_a_ledger_says_so(served: ServedEngine) -> None:
    served.advance(1)
    said = served.cli("cursor", "set", "rows", "3")
    assert said.out == "3\n"
    assert said.err == "what its ledger knows stays seen; freshet cursor rollback rows --to TICK sets back both\n"
    assert served.cli("cursor", "set", "often", "3").err == ""


def test_deliveries_that_wait_or_are_parked_are_told_with_the_sensors(served: ServedEngine) -> None:
    deliver(served, "d1", n="no number")
    deliver(served, "d2", n=2)
    served.advance(30)
    out = served.cli("sensors").out
    assert "gh: 1 delivery is parked: freshet inbox gh --state parked\n" in out
    assert "skipped" not in out
    assert served.cli("sensors", "gh", "--json").json["parked"] == 1


def test_a_full_inbox_names_who_fills_it(served: ServedEngine) -> None:
    served.rig.engine.inbox._limit = 2  # pyright: ignore[reportPrivateUsage]  # as [http] inbox_max = 2
    served.cli("pause", "gh")
    deliver(served, "d1", n=1)
    assert "full" not in served.cli("status").out
    deliver(served, "d2", n=1)
    said = "the inbox is full: 2 deliveries wait, as many as [http] inbox_max allows; most are of gh (2)"
    assert said in served.cli("status").out
    assert f"\n{said}\n" in served.cli("inbox").out
    served.cli("resume", "gh")
    served.advance(1)
    assert "full" not in served.cli("inbox").out + served.cli("status").out


def test_problems_of_hooks_stand_below_the_table(served: ServedEngine) -> None:
    head, *rest = served.cli("inbox").out.splitlines()
    assert "problem" not in head
    assert any(line.startswith("gl: the secret 'env:NO_SECRET_1'") for line in rest)
    assert max(map(len, rest[:3])) < 90


def test_a_hook_is_found_by_its_path_too(served: ServedEngine) -> None:
    deliver(served, "d1", n=1)
    for name in ("of/gh", "/hooks/of/gh", "gh"):
        assert "d1" in served.cli("inbox", name).out
    assert "1 delivery: " in served.cli("replay", "of/gh", "--all").out
    said = served.cli("inbox", "of/ghh")
    assert (said.status, "did you mean 'of/gh'?" in said.err) == (1, True), said.err


def test_a_replay_says_what_waited_already_and_what_runs(served: ServedEngine) -> None:
    deliver(served, "d1", n=1)
    served.advance(1)
    served.cli("pause", "gh")
    deliver(served, "d2", n=2)
    said = served.cli("replay", "gh", "--all").out
    assert said.startswith("2 deliveries: 1 wait again, 1 waited already (what ran because of them does not run twice")
    assert served.cli("replay", "gh", "--all", "--again").out == "2 deliveries: 0 wait again, 2 waited already\n"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("why=2", {"why": "2"}),
        ('why="2"', {"why": "2"}),
        ("why=true", {"why": "true"}),
        ("why=[1, 2]", {"why": "[1, 2]"}),
        ("why=NaN", {"why": "NaN"}),
        ("count=2", {"count": 2}),
        ("count=two", {"count": "two"}),
        ("day=1", {"day": "1"}),
        ("data=2", {"data": 2}),
        ('data={"a": [1]}', {"data": {"a": [1]}}),
        ("on=true", {"on": True}),
    ],
)
def test_a_parameter_is_a_text_where_the_job_takes_one(served: ServedEngine, given: str, found: dict[str, Any]) -> None:
    why = [] if given.startswith("why") else ["--param", "why=x"]
    said = served.cli("call", "write", "--param", given, *why)
    assert said.status == 0, said.err
    (run,) = json.loads(served.cli("runs", "--target", "write", "--json").out)
    assert {name: value for name, value in run["params"].items() if name in found} == found
