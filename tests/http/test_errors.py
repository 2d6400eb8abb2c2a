"""What the API refuses, in its one form, and the document that says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.http.hand_control import served_in

from freshet.http.unixpath import reachable


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served_in(tmp_path_factory.mktemp("served")) as served, reachable(served.socket) as path:
        transport = httpx.HTTPTransport(uds=path)
        with httpx.Client(transport=transport, base_url="http://x/api/v1/", timeout=60) as client:
            yield client


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "kind", "says"),
    [
        ("GET", "assets/sale", None, 404, "UnknownName", "did you mean 'sales'?"),
        ("GET", "sensors/landin", None, 404, "UnknownName", "did you mean 'landing'?"),
        ("POST", "sensors/nope/pause", None, 404, "UnknownName", "known are: landing, shaky"),
        ("GET", "runs/99", None, 404, "UnknownName", "there is no run 99"),
        ("GET", "runs/99/journal", None, 404, "UnknownName", "there is no run 99"),
        ("GET", "runs/99/wait", None, 404, "UnknownName", "there is no run 99"),
        ("GET", "partitions/batch", None, 404, "UnknownName", "did you mean 'batches'?"),
        ("POST", "runs", {"assets": ["raw_order"]}, 404, "UnknownName", "did you mean 'raw_orders'?"),
        ("POST", "runs", {"assets": ["raw_orders"], "partition": "nope"}, 404, "UnknownName", "no key 'nope'"),
        ("POST", "runs", {"assets": ["raw_orders"]}, 409, "Conflict", "--partition"),
        ("POST", "jobs/notify/call", {"params": {}}, 409, "Conflict", "order_id"),
        ("POST", "partitions/regions", {"keys": {"east": {}}}, 409, "Conflict", "static"),
        ("POST", "partitions/batches", {"keys": {".x": {}}}, 400, "PartitionKeyError", "begins with a dot"),
        ("POST", "partitions/batches", {"keys": {"x\n": {}}}, 400, "PartitionKeyError", "control character"),
        ("POST", "runs", {"assets": []}, 422, "BadRequest", "assets"),
        ("POST", "runs", {"assets": ["sales"], "wait": True}, 422, "BadRequest", "body.wait"),
        ("POST", "runs", {"assets": ["sales"], "priority": 2**63}, 422, "BadRequest", "body.priority"),
        ("POST", "jobs/notify/call", {"params": {"order_id": 2**70}}, 400, "ValueFormatError", "64-bit"),
        ("POST", "runs", None, 422, "BadRequest", "body"),
        ("GET", "runs/none", None, 422, "BadRequest", "run_id"),
        ("GET", "runs/0", None, 422, "BadRequest", "run_id"),
        ("GET", f"runs/{2**63}", None, 422, "BadRequest", "run_id"),
        ("GET", "runs?limit=0", None, 422, "BadRequest", "limit"),
        ("GET", "nothing", None, 404, "NotFound", "GET /api/v1/nothing"),
        ("DELETE", "status", None, 405, "MethodNotAllowed", "DELETE /api/v1/status"),
    ],
)
def test_errors_have_one_form(
    http: httpx.Client, method: str, path: str, body: Any, code: int, kind: str, says: str
) -> None:
    answer = http.request(method, path, json=body) if body is not None else http.request(method, path)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (code, kind)
    assert says in error["message"] + " " + error["hint"]
    assert set(error) == {"type", "message", "hint", "file", "line"}


def test_a_body_that_is_no_json_is_refused(http: httpx.Client) -> None:
    for content in (b"{", b"[" * 100_000, b"\xff"):
        answer = http.post("runs", content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["type"]) in [(422, "BadRequest"), (400, "BadRequest")]


def test_the_document_describes_every_answer(http: httpx.Client) -> None:
    document = http.get("openapi.json").json()
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations) == 56
    for one in operations:
        assert one["description"], one["operationId"]
        assert {"400", "404", "409", "422", "503"} <= set(one["responses"])
        assert one["responses"]["422"]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/ErrorAnswer"
        }
    assert all(path.startswith("/api/v1/") for path in document["paths"])
