"""Who dawdles, or holds too much, is let go: on real sockets, in every phase of a connection."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.hand_control import Served, served_in
from tests.http.test_hooks import INTAKE, post, take
from tests.support.signers import sign

from freshet.http import guarded
from freshet.http.bucket import BURST_SECONDS, Buckets

HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
WHOLE = HEAD + b"\r\n"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "HEADER_WITHIN", 0.5)
    monkeypatch.setattr(guarded, "BODY_PHASE", 0.5)
    monkeypatch.setattr(guarded, "IDLE_WITHIN", 1.0)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with served_in(tmp_path) as made:
        yield made


def connected(served: Served) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", served.sockets.port))
    made.settimeout(0.1)
    return made


def until_closed(one: socket.socket, *, trickle: bytes = b"", within: float = 20.0) -> bytes:
    """All that is said, until the other side closes, while a byte comes every tenth of a second."""
    said, until = b"", time.monotonic() + within
    while time.monotonic() < until:
        try:
            got = one.recv(10_000)
            said += got
            if not got:
                return said
        except TimeoutError:
            pass
        except ConnectionError:
            return said
        if trickle:
            try:
                one.sendall(trickle)
            except ConnectionError:
                return said
    pytest.fail(f"still open; said {said!r}")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("begins", "trickle", "says"),
    [
        pytest.param(b"", b"", b"", id="says nothing"),
        pytest.param(b"", b"\r\n", b"", id="empty lines"),
        pytest.param(HEAD, b"", b"HTTP/1.1 408 ", id="half a header"),
        pytest.param(HEAD + b"X-Slow: ", b"a", b"HTTP/1.1 408 ", id="a header in single bytes"),
        pytest.param(b"G", b"E", b"", id="a method in single bytes"),
        pytest.param(HEAD + b"Content-Length: 999\r\n\r\n", b"x", b"HTTP/1.1 200 ", id="a body that nobody reads"),
        pytest.param(WHOLE, b"\r\n", b"HTTP/1.1 200 ", id="empty lines after an answer"),
        pytest.param(WHOLE, b"", b"HTTP/1.1 200 ", id="nothing after an answer"),
        pytest.param(WHOLE + HEAD + b"X: ", b"a", b"HTTP/1.1 200 ", id="a second header in single bytes"),
    ],
)
def test_who_dawdles_is_let_go(served: Served, begins: bytes, trickle: bytes, says: bytes) -> None:
    with closing(connected(served)) as slow:
        slow.sendall(begins)
        assert until_closed(slow, trickle=trickle).startswith(says)


@pytest.mark.usefixtures("quick")
def test_who_goes_on_asking_stays(served: Served) -> None:
    with closing(connected(served)) as busy:
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            busy.sendall(WHOLE)
            said = b""
            while not said.endswith(b"}"):
                said += busy.recv(10_000)
            assert said.startswith(b"HTTP/1.1 200 ")


def test_a_header_without_end_is_refused(served: Served) -> None:
    with closing(connected(served)) as large:
        large.sendall(HEAD)
        said = until_closed(large, trickle=b"X-Large: " + b"x" * 30_000 + b"\r\n")
        assert said.startswith(b"HTTP/1.1 431 ")


def test_one_address_holds_so_many_connections_and_no_more(tmp_path: Path) -> None:
    with served_in(tmp_path, http="connections_per_address = 5") as served, ExitStack() as stack:
        held = [stack.enter_context(closing(connected(served))) for _ in range(5)]
        for one in held:
            one.sendall(WHOLE)
            assert one.recv(100).startswith(b"HTTP/1.1 200 ")
        with closing(connected(served)) as more:
            said = until_closed(more)
            assert said.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 5\r\n" in said
        held[0].close()
        until = time.monotonic() + 10
        while True:
            with closing(connected(served)) as next_one:
                next_one.sendall(WHOLE)
                next_one.settimeout(10)
                try:
                    if next_one.recv(100).startswith(b"HTTP/1.1 200 "):
                        break
                except ConnectionError:
                    pass
            assert time.monotonic() < until, "its place is never free again"


def test_a_hook_takes_so_many_a_second_and_tells_when_to_come_again(tmp_path: Path) -> None:
    with served_in(tmp_path, http="hook_rate = 0.4") as served:
        take(served, INTAKE)
        for number in range(20):
            assert post(served, sign("hmac-sha256", b"{}", id=f"forged {number}", secret="wrong"))[0] == 401
        answers = [post(served, sign("hmac-sha256", b"{}", id=f"{number}")) for number in range(6)]
    assert [code for code, _, _ in answers[:4]] == [202] * 4
    code, body, headers = answers[-1]
    assert (code, body["error"]["type"]) == (429, "TooMany")
    assert 1 <= int(headers["retry-after"]) <= 3


@given(
    rate=st.sampled_from([0.25, 1.0, 8.0]),
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=60),
)
def test_a_bucket_never_lets_more_pass_and_its_word_holds(rate: float, steps: list[tuple[str, int]]) -> None:
    """In no span of time pass more than a full bucket and what it gained; who waits as told, is let in."""
    buckets, now = Buckets(rate), 0.0
    passed: dict[str, list[float]] = {"a": [], "b": []}
    for name, quarters in steps:
        now += quarters / 4
        wait = buckets.take(name, now)
        if wait:
            now += wait + 1e-6
            assert buckets.take(name, now) == 0.0
        passed[name].append(now)
    size = max(1.0, rate * BURST_SECONDS)
    for times in passed.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= size + (times[last] - times[first]) * rate + 1e-6
