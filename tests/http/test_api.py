"""The API through its real socket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.http.hand_control import NOW, Served, served_in

from freshet.engine.control import TickReport
from freshet.errors import StoreUnavailable
from freshet.http.unixpath import reachable


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with served_in(tmp_path) as found:
        yield found


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with reachable(served.socket) as path:
        transport = httpx.HTTPTransport(uds=path)
        with httpx.Client(transport=transport, base_url="http://x/api/v1/", timeout=60) as client:
            yield client


def _ok(answer: httpx.Response, code: int = 200) -> Any:
    assert answer.status_code == code, answer.text
    return answer.json()


def test_status_names_what_is_wrong(served: Served, http: httpx.Client) -> None:
    served.control.problem = "the disk is full"
    served.call(served.control.pause, "landing")
    found = _ok(http.get("status"))
    assert (found["state"], found["version"], found["assets"], found["sensors"]) == ("ready", "1.2.3", 4, 2)
    assert found["host"]["evaluators"] == {"shared": 8}
    assert found["problem"] == "the disk is full"
    assert found["paused"] == ["landing"]
    assert found["lapsed"] == []


def test_assets_show_what_is_declared_and_what_was_made(served: Served, http: httpx.Client) -> None:
    _ok(http.post("partitions/batches", json={"keys": {"a": {}, "b": {}}}))
    run = _ok(http.post("runs", json={"assets": ["raw_orders"], "partition": "a"}), 201)["runs"][0]
    served.call(served.control.end, run)
    found = {one["name"]: one for one in _ok(http.get("assets"))}
    assert list(found) == ["by_region", "clean_orders", "raw_orders", "sales"]
    raw = found["raw_orders"]
    assert raw["counts"] == {"partitions": 2, "materialized": 1, "failed": 0, "in_progress": 0, "exhausted": 0}
    assert (raw["file"], raw["line"], raw["run_id"]) == ("/plugins/orders.py", 12, run)
    assert (raw["partitions"], raw["downstream"]) == ("batches", ["clean_orders"])
    assert found["sales"]["freshness"] == {
        "within": 60.0,
        "warn": 30.0,
        "cron": None,
        "timezone": None,
        "window": None,
        "per_partition": False,
        "warned": 0,
        "lapsed": 0,
        "state": "fresh",
        "baseline_at": NOW,
        "deadline": NOW + 60,
    }
    assert _ok(http.get("assets/sales")) == found["sales"]


def test_sensors_are_shown_paused_and_resumed(http: httpx.Client) -> None:
    assert [one["name"] for one in _ok(http.get("sensors"))] == ["landing", "shaky"]
    assert _ok(http.post("sensors/landing/pause"))["status"] == "paused"
    assert _ok(http.get("sensors/landing"))["due_at"] is None
    assert _ok(http.post("sensors/landing/resume"))["status"] == "ok"
    assert _ok(http.get("sensors/landing/history")) == []


@pytest.mark.parametrize("cursor", [None, 0, "2026-01-01", {"a": [1, None]}])
def test_a_cursor_is_any_json(http: httpx.Client, cursor: Any) -> None:
    answer = {"sensor": "landing", "cursor": cursor, "revision": 1, "has_ledger": False}
    assert _ok(http.put("sensors/landing/cursor", json={"cursor": cursor})) == answer
    assert _ok(http.get("sensors/landing/cursor")) == answer


def test_a_cursor_that_is_left_out_of_a_tick_stays(served: Served, http: httpx.Client) -> None:
    served.call(served.control.set_cursor, "landing", 7)
    assert _ok(http.post("sensors/landing/tick", json={"dry_run": True}))["cursor_before"] == 7
    assert _ok(http.post("sensors/landing/tick", json={"dry_run": True, "cursor": None}))["cursor_before"] is None


def test_a_tick_says_what_it_did(served: Served, http: httpx.Client) -> None:
    error = {"type": "ValueError", "message": "no", "traceback": "..."}
    runs = ({"target": "raw_orders", "partition": "a"},)
    served.control.report = TickReport("landing", "failed", False, 1, 2, runs=runs, ledger_added=3, error=error)
    found = _ok(http.post("sensors/landing/tick", json={}))
    assert (found["runs"], found["ledger_added"], found["error"]) == ([dict(runs[0])], 3, error)


def test_runs_are_admitted_listed_and_canceled(served: Served, http: httpx.Client) -> None:
    first = _ok(http.post("jobs/notify/call", json={"params": {"order_id": 1, "text": "\x1b[31m"}}), 201)["runs"][0]
    second = _ok(http.post("runs", json={"assets": ["sales"], "tags": {"why": "test"}}), 201)["runs"][0]
    assert [one["id"] for one in _ok(http.get("runs"))] == [second, first]
    assert [one["id"] for one in _ok(http.get("runs", params={"target": "notify"}))] == [first]
    assert [one["id"] for one in _ok(http.get("runs", params={"before": second}))] == [first]
    assert _ok(http.get("runs", params={"state": "failed"})) == []
    found = _ok(http.get(f"runs/{first}"))
    assert found["params"] == {"order_id": 1, "text": "\x1b[31m"}
    assert (found["state"], found["blocked_by"], len(found["steps"])) == ("started", None, 1)
    assert _ok(http.post(f"runs/{first}/cancel"))["state"] == "canceling"


def test_a_queued_run_says_why_it_waits(served: Served, http: httpx.Client) -> None:
    body = {"assets": ["sales"], "upstream": False}
    run = _ok(http.post("runs", json=body), 201)["runs"][0]
    served.call(served.control.requeue, run)
    assert _ok(http.get(f"runs/{run}"))["blocked_by"] == "waits for a slot (2 of 2 in use)"


def test_waiting_ends_with_the_run(served: Served, http: httpx.Client) -> None:
    run = _ok(http.post("runs", json={"assets": ["sales"]}), 201)["runs"][0]
    assert _ok(http.get(f"runs/{run}/wait", params={"timeout": 0.05}))["state"] == "started"

    async def end_when_somebody_waits() -> None:
        await served.control.until_watched()
        await served.control.end(run, "failed", {"type": "ValueError", "message": "no"})

    ended = served.soon(end_when_somebody_waits)
    found = _ok(http.get(f"runs/{run}/wait", params={"timeout": 15}))
    ended.result(timeout=60)
    assert found["state"] == "failed"
    assert found["steps"][0]["error"]["message"] == "no"
    assert _ok(http.get(f"runs/{run}/wait", params={"timeout": 15}))["state"] == "failed"


def test_partitions_are_paged_added_and_deleted(http: httpx.Client) -> None:
    keys = {"a b/c": {"path": "x.csv"}, "é": {}, "z|%": {}}
    assert _ok(http.post("partitions/batches", json={"keys": keys}))["changed"] == 3
    assert _ok(http.post("partitions/batches", json={"keys": {"é": {"n": 1}}}))["changed"] == 0
    first = _ok(http.get("partitions/batches", params={"limit": 2}))
    assert [one["key"] for one in first["partitions"]] == ["a b/c", "é"]
    assert first["partitions"][0]["states"] == {"clean_orders": "missing", "raw_orders": "missing"}
    assert first["partitions"][1]["metadata"] == {"n": 1}
    rest = _ok(http.get("partitions/batches", params={"limit": 2, "after": first["next"]}))
    assert ([one["key"] for one in rest["partitions"]], rest["next"]) == (["z|%"], None)
    assert _ok(http.request("DELETE", "partitions/batches", json={"keys": ["é", "nope"]}))["changed"] == 1
    sets = {one["name"]: (one["kind"], one["count"], one["assets"]) for one in _ok(http.get("partitions"))}
    assert sets == {"batches": ("dynamic", 2, ["clean_orders", "raw_orders"]), "regions": ("static", 2, ["by_region"])}


def test_events_come_in_order_and_may_be_waited_for(served: Served, http: httpx.Client) -> None:
    last = _ok(http.get("events", params={"limit": 1000}))["next"]
    assert _ok(http.get("events", params={"after": last})) == {"events": [], "next": last}

    async def add_when_somebody_waits() -> None:
        await served.control.until_watched()
        await served.control.add_partitions("batches", {"new": {}})

    added = served.soon(add_when_somebody_waits)
    found = _ok(http.get("events", params={"after": last, "timeout": 15}))
    added.result(timeout=60)
    assert [(one["type"], one["set"]) for one in found["events"]] == [("partition_added", "batches")]
    assert found["next"] == found["events"][-1]["seq"] > last


def test_a_store_that_cannot_write_is_503(served: Served, http: httpx.Client) -> None:
    served.control.fails = StoreUnavailable("the disk is full", hint="make room")
    answer = http.post("runs", json={"assets": ["sales"]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["hint"] == "make room"


def test_a_bug_is_told_and_logged(served: Served, http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    served.control.fails = ZeroDivisionError("a secret detail")
    answer = http.post("runs", json={"assets": ["sales"]})
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "InternalError")
    assert "a secret detail" not in answer.text
    until = time.monotonic() + 5
    while "a secret detail" not in caplog.text:  # the server logs after it has answered
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_rollback_is_shown_before_it_is_done(http: httpx.Client) -> None:
    answer = http.post("sensors/landing/rollback", json={"to": 12, "dry_run": True}).json()
    assert (answer["to"], answer["dry_run"], answer["again"]) == (12, True, False)
    assert (answer["cursor_before"], answer["cursor"], answer["ledger_removed"], answer["ledger_restored"]) == (
        9,
        4,
        2,
        1,
    )
    assert answer["run_keys"] == [{"target": "raw", "key": "a", "run_key": "a.csv", "run_id": 7}]
    assert http.post("sensors/nobody/rollback", json={"to": 1}).status_code == 404
    assert http.post("sensors/landing/rollback", json={"to": "last"}).status_code == 422
