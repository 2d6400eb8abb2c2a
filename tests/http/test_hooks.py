"""The door of the hooks: limits, bodies in pieces or too slow, floods, and what is kept of a delivery."""

from __future__ import annotations

import hashlib
import http.client
import json
import select
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.http.hand_control import Served, served_in
from tests.support.signers import SECRET, Signed, sign

from freshet.definitions.intake import Intake
from freshet.engine.control import Hook
from freshet.http import hooks, payload
from freshet.http.identity import delivery_id, kept_headers
from freshet.http.schemes import Delivery, Verified
from freshet.store.records import TickerRow
from freshet.store.tickers import register_ticker

LIMIT = 4000
INTAKE = Intake("orders/new", "hmac-sha256", "env:X", id_from="header:X-Delivery", max_body=LIMIT)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with served_in(tmp_path) as made:
        take(made, INTAKE)
        yield made


def take(served: Served, intake: Intake) -> None:
    """Let the daemon have a hook."""
    register: Callable[[sqlite3.Connection], TickerRow] = partial(register_ticker, kind="sensor", name="hook")
    row = cast("TickerRow", served.call(served.control.store.write, register))
    served.control.taking[intake.path] = Hook("hook", row.id, intake)
    served.control.secrets = (SECRET.encode(),)


def post(served: Served, signed: Signed, *, path: str = "orders/new", method: str = "POST", **how: Any) -> Any:
    """(status, body, headers) of one request on a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", served.sockets.port, timeout=60)) as connection:
        connection.request(method, f"/hooks/{path}", body=signed.body, headers=signed.headers, **how)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None, dict(answer.getheaders())


def kept(served: Served) -> list[tuple[str, bytes]]:
    """What is in the inbox, in order."""
    with closing(sqlite3.connect(served.control.store.path)) as db:
        return db.execute("SELECT delivery, body FROM inbox ORDER BY id").fetchall()


def test_the_raw_body_is_kept_to_the_byte(served: Served) -> None:
    body = b'{ "a" : 1.0,\t"b":"\xc3\xbc\\u00fc" }\n'
    assert post(served, sign("hmac-sha256", body))[:2] == (202, {"id": 1})
    assert kept(served) == [("d-1", body)]


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT, LIMIT + 1, 3 * LIMIT, 1 << 20, 8 << 20])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_limit_holds_with_and_without_a_length(served: Served, size: int, chunked: bool) -> None:
    signed = sign("hmac-sha256", b"x" * size, content_type="text/plain")
    if chunked:
        pieces = (signed.body[start : start + 700_001] for start in range(0, size, 700_001))
        code = post(served, Signed({**signed.headers, "transfer-encoding": "chunked"}, pieces), encode_chunked=True)[0]  # type: ignore[arg-type]
    else:
        code = post(served, signed)[0]
    assert code == (202 if size <= LIMIT else 413)
    assert len(kept(served)) == (size <= LIMIT)


def test_only_small_json_is_read_where_all_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def parse(body: bytes) -> Any:
        threads.append(threading.current_thread().name)
        return payload.parse(body)

    monkeypatch.setattr(hooks, "parse", parse)
    with served_in(tmp_path) as served:
        take(served, Intake("orders/new", "hmac-sha256", "env:X", id_from="header:X-Delivery"))
        for size in (64_000, 70_000):
            assert post(served, sign("hmac-sha256", json.dumps("x" * size).encode(), id=f"{size}"))[0] == 202
    loop, aside = threads
    assert "worker thread" in aside and "worker thread" not in loop


@pytest.mark.parametrize("content_type", ["application/cloudevents", "application/cloudevents; charset=utf-8"])
def test_a_structured_event_is_the_same_event_whatever_its_type_is_called(served: Served, content_type: str) -> None:
    take(served, Intake("orders/new", "hmac-sha256", "env:X"))
    body = json.dumps({"specversion": "1.0", "source": "/s", "id": "1", "type": "t"}).encode()
    assert [post(served, sign("hmac-sha256", body, content_type=content_type))[0] for _ in range(2)] == [202, 200]


EVENT = {"specversion": "1.0", "source": "/s", "id": "1", "type": "t"}


@pytest.mark.parametrize(
    ("event", "says"),
    [
        *(({**EVENT, name: None}, f"no {name}") for name in EVENT),
        *(({key: value for key, value in EVENT.items() if key != name}, f"no {name}") for name in EVENT),
        ({**EVENT, "id": ""}, "no id"),
        ({**EVENT, "id": 1}, "id of a CloudEvent is a text, found 1"),
        ([EVENT], "must be an object, found list"),
        ({**EVENT, "data_base64": "!"}, "no base64"),
        ({**EVENT, "data_base64": "", "data": 1}, "not both"),
    ],
)
def test_an_event_that_is_none_is_refused_after_the_signature(served: Served, event: Any, says: str) -> None:
    take(served, Intake("orders/new", "hmac-sha256", "env:X"))
    signed = partial(sign, "hmac-sha256", json.dumps(event).encode(), content_type="application/cloudevents+json")
    code, body, _ = post(served, signed())
    assert (code, body["error"]["type"], says in body["error"]["message"]) == (400, "BadPayload", True), body
    assert post(served, signed(secret="wrong"))[0] == 401


@pytest.mark.parametrize("name", EVENT)
def test_an_event_in_headers_is_refused_where_one_is_missing(served: Served, name: str) -> None:
    take(served, Intake("orders/new", "hmac-sha256", "env:X"))
    headers: dict[str, Any] = {f"ce_{key}": value for key, value in EVENT.items()}
    assert post(served, sign("hmac-sha256", b"{}", **headers))[0] == 202
    del headers[f"ce_{name}"]
    code, body, _ = post(served, sign("hmac-sha256", b"{}", **headers))
    assert (code, body["error"]["message"].endswith(f"no ce-{name}")) == (400, True), body


@pytest.mark.parametrize("kind", ["cloudevents-batch+json", "cloudevents-batch", "cloudevents+avro"])
def test_batches_of_events_and_other_formats_are_refused_with_a_word_of_what_is_taken(
    served: Served, kind: str
) -> None:
    take(served, Intake("orders/new", "hmac-sha256", "env:X"))
    full = f"application/{kind}; charset=utf-8"
    signed = partial(sign, "hmac-sha256", json.dumps([EVENT]).encode(), content_type=full)
    code, body, _ = post(served, signed())
    assert (code, body["error"]["message"]) == (415, f"application/{kind} is not taken")
    assert "one by one" in body["error"]["hint"]
    assert post(served, signed(secret="wrong"))[0] == 401


def test_a_header_that_begins_alike_makes_no_event(served: Served) -> None:
    assert post(served, sign("hmac-sha256", b"{}", ce_ntre="x"))[0] == 202


@pytest.mark.parametrize("id_from", ["json:/event/id", "header:X-Delivery"])
def test_that_nothing_stands_where_the_id_should_is_said_once(served: Served, id_from: str) -> None:
    take(served, Intake("orders/new", "hmac-sha256", "env:X", id_from=id_from))
    bare = sign("hmac-sha256", b'{"event": {"name": "x"}}')
    bare.headers.pop("x-delivery", None)
    bare.headers.pop("X-Delivery", None)
    with capture_logs() as logs:
        assert [post(served, bare)[0] for _ in range(3)] == [202] * 3
        form = Signed({**bare.headers, "content-type": "application/x-www-form-urlencoded"}, bare.body)
        assert post(served, form)[0] == 202
    told = [line for line in logs if "has no id" in line["event"]]
    assert [(line["hook"], line["id_from"]) for line in told] == [("hook", id_from)]
    with capture_logs() as logs:
        named = sign("hmac-sha256", b'{"event": {"id": "1"}}')
        assert [post(served, named)[0] for _ in range(2)] == [202, 200]
    assert logs == []


def test_a_body_that_comes_in_single_bytes_is_taken(served: Served) -> None:
    signed = sign("hmac-sha256", b'{"a": 1}')
    pieces = (bytes([one]) for one in signed.body)
    headers = {**signed.headers, "transfer-encoding": "chunked"}
    assert post(served, Signed(headers, pieces), encode_chunked=True)[0] == 202  # type: ignore[arg-type]


def test_a_sender_that_dawdles_is_let_go_and_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "BODY_WITHIN", 3.0)
    with served_in(tmp_path) as served:
        take(served, INTAKE)
        slow = [socket.create_connection(("127.0.0.1", served.sockets.port)) for _ in range(50)]
        for one in slow:
            one.sendall(b"POST /hooks/orders/new HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab")
        assert post(served, sign("hmac-sha256", b"{}"))[0] == 202
        assert not select.select(slow, [], [], 0)[0], "they are still being waited for"
        for one in slow:
            one.settimeout(30)
            assert one.recv(100).startswith(b"HTTP/1.1 408 ")
            one.close()


def test_a_sender_that_leaves_within_its_body_leaves_nothing_behind(served: Served) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", served.sockets.port)) as gone:
            gone.sendall(b"POST /hooks/orders/new HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab")
    assert post(served, sign("hmac-sha256", b"{}"))[0] == 202
    assert len(kept(served)) == 1


def test_too_much_at_once_is_refused_for_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "_IN_MEMORY", 5000)
    with served_in(tmp_path) as served:
        take(served, INTAKE)
        with socket.create_connection(("127.0.0.1", served.sockets.port)) as half:
            half.sendall(b"POST /hooks/orders/new HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n" + b"x" * 3900)
            codes, headers = set[int](), dict[str, str]()
            until = time.monotonic() + 10
            while 503 not in codes and time.monotonic() < until:
                signed = sign("hmac-sha256", b"x" * 3000, id=f"{len(codes)}", content_type="text/plain")
                code, _, headers = post(served, signed)
                codes.add(code)
            assert 503 in codes
            assert headers["retry-after"] == "5"
        served_again = time.monotonic() + 10
        while post(served, sign("hmac-sha256", b"x" * 3000, id="late", content_type="text/plain"))[0] == 503:
            assert time.monotonic() < served_again, "what was held is never released"


def test_a_full_inbox_and_a_store_that_cannot_write_say_later(served: Served) -> None:
    served.control.full = True
    code, body, headers = post(served, sign("hmac-sha256", b"{}"))
    assert (code, body["error"]["type"], headers["retry-after"]) == (503, "Unavailable", "5")
    served.control.full = False
    with closing(sqlite3.connect(served.control.store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert post(served, sign("hmac-sha256", b"{}"))[0] == 503
        other.execute("ROLLBACK")
    assert post(served, sign("hmac-sha256", b"{}"))[0] == 202
    served.control.state = "stopping"
    assert post(served, sign("hmac-sha256", b"{}", id="late"))[0] == 503


def test_of_many_alike_at_once_one_is_new_and_all_are_answered_alike(served: Served) -> None:
    signed = sign("hmac-sha256", b'{"a": 1}', id="same")
    gate = threading.Barrier(16)

    def send(number: int) -> Any:
        gate.wait(10)
        return post(served, signed)[:2]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(16)))
    assert sorted(code for code, _ in answers) == [200] * 15 + [202]
    assert {body["id"] for _, body in answers} == {1}
    assert len(kept(served)) == 1


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused_alike_everywhere(served: Served, method: str) -> None:
    empty = Signed({}, b"")
    assert post(served, empty, method=method)[:2] == post(served, empty, path="nowhere", method=method)[:2]
    assert post(served, empty, method=method)[0] == 401


def test_an_encoded_body_is_refused_after_the_signature(served: Served) -> None:
    assert post(served, sign("hmac-sha256", b"\x1f\x8b", content_encoding="gzip"))[0] == 415
    assert post(served, sign("hmac-sha256", b"\x1f\x8b", content_encoding="gzip", secret="wrong"))[0] == 401


def test_where_the_body_is_the_id_a_copy_is_no_news(served: Served) -> None:
    take(served, Intake("orders/new", "hmac-sha256", "env:X", id_from="body"))
    codes = [post(served, sign("hmac-sha256", body, id=id))[0] for id, body in (("1", b"1"), ("2", b"1"), ("3", b"2"))]
    assert codes == [202, 200, 202]


def test_with_no_id_each_delivery_is_new(served: Served) -> None:
    take(served, Intake("orders/new", "hmac-sha256", "env:X"))
    assert [post(served, sign("hmac-sha256", b"{}"))[0] for _ in range(3)] == [202, 202, 202]


# --- what makes a delivery the same ---------------------------------------------------------------------------

NONE = Intake("x", "none")


@pytest.mark.parametrize(
    ("intake", "headers", "value", "expected"),
    [
        (Intake("x", "none", id_from="json:/a/1/id"), {}, {"a": [0, {"id": 12}]}, "12"),
        (Intake("x", "none", id_from="json:/a~1b"), {}, {"a/b": "y"}, "y"),
        (Intake("x", "none", id_from="json:/id"), {}, {"id": True}, None),
        (Intake("x", "none", id_from="header:X-Id"), {"x-id": "z"}, None, "z"),
        (Intake("x", "none", id_from="header:X-Id"), {}, None, None),
        (Intake("x", "none", id_from="body"), {}, None, f"sha256:{hashlib.sha256(b'').hexdigest()}"),
        (Intake("x", "stripe", "env:S"), {}, {"id": "evt_1"}, "evt_1"),
        (Intake("x", "slack", "env:S"), {}, {"event_id": "Ev1"}, "Ev1"),
        (Intake("x", "slack", "env:S"), {}, None, None),
        (NONE, {"content-type": "application/cloudevents+json"}, {"source": "/s", "id": "1"}, "/s 1"),
        (NONE, {"ce-specversion": "1.0", "ce-source": "/s", "ce-id": "1"}, None, "/s 1"),
        (NONE, {"ce-specversion": "1.0", "ce-source": "/s"}, None, None),
        (NONE, {"ce-source": "/s", "ce-id": "1"}, None, None),
    ],
)
def test_the_id_is_found_where_the_intake_says(
    intake: Intake, headers: dict[str, str], value: Any, expected: str | None
) -> None:
    assert delivery_id(intake, Delivery(headers, b""), Verified(), value) == expected


@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_ids_stay_apart_however_long_they_are(one: str, two: str) -> None:
    intake = Intake("x", "none", id_from="json:/id")
    ids = [delivery_id(intake, Delivery({}, b""), Verified(), {"id": text}) for text in (one, two)]
    assert (ids[0] == ids[1]) == (one == two)
    assert all(found is not None and len(found) <= 255 for found in ids)


def test_no_header_that_signs_or_opens_a_door_is_kept() -> None:
    intake = Intake("x", "hmac-sha256", "env:S", header="X-Sum", id_from="header:Event")
    given = {
        "x-sum": "s", "x-hub-signature-256": "s", "authorization": "s", "cookie": "s", "x-gitlab-token": "s",
        "x-api-key": "s", "x-auth": "s", "x-client-secret": "s", "x-forwarded-for": "1.2.3.4", "host": "h",
        "accept": "*/*", "x-event": "push", "event": "12", "ce-id": "1", "user-agent": "a", "webhook-id": "i",
        "x-long": "l" * 20_000,
    }  # fmt: skip
    assert kept_headers(intake, given) == {
        "x-event": "push", "event": "12", "ce-id": "1", "user-agent": "a", "webhook-id": "i"
    }  # fmt: skip
