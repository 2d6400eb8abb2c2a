"""From a signed POST to its durable 202, one by one and over many connections; and to the function's first line."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.lab import Lab
from tests.bench.waiting import until

__all__ = ["FIGURE", "flood"]

_SECRET = "a secret of some length"
_DURABLE = Bar(median=2, p99=10)
_THROUGHPUT = Bar(median=3000, at_least=True)
_FIRST_LINE = Bar(median=10)
_CONNECTIONS = 64
_WARM_UP = 20


def _plugin(secret: Path, *, drop: bool) -> str:
    """A hook whose deliveries run a job that notes the instant, or (`drop`) are left out by its filter."""
    left = ", filter=lambda payload: False" if drop else ""
    return f"""\
import time

from freshet import job
from freshet_sensors import WebhookSensor


@job
def landed(id: str):
    now = time.time_ns()
    with open("stamps", "a") as file:
        file.write(f"{{id}} {{now}}\\n")


WebhookSensor("hook", path="hook", scheme="hmac-sha256", secret={f"file:{secret}"!r}, id_from="header:X-Id",
              target=landed{left})
"""


def _signed(id: str) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"id": id}).encode()
    digest = hmac.new(_SECRET.encode(), body, hashlib.sha256).hexdigest()
    return body, {"X-Signature": digest, "X-Id": id, "Content-Type": "application/json"}


def _measure(bench: Bench) -> Iterator[Row]:
    secret = bench.scratch / "hook-secret"
    secret.write_text(_SECRET)
    with bench.lab("webhooks-durable", {"hook.py": _plugin(secret, drop=True)}) as lab:
        yield Row.of("POST, HMAC -> durable 202, serial", "ms", _serial(lab, bench.pick(2000, 300)), _DURABLE)
    with bench.lab("webhooks-flood", {"hook.py": _plugin(secret, drop=True)}) as lab:
        rates = [_flood(lab, bench.pick(20_000, 6000), turn) for turn in range(bench.pick(3, 1))]
        yield Row.of(f"POST, HMAC -> durable 202, {_CONNECTIONS} connections", "/s", rates, _THROUGHPUT)
    with bench.lab("webhooks-first-line", {"hook.py": _plugin(secret, drop=False)}) as lab:
        yield Row.of("POST -> first line of the function", "ms", _first_lines(lab, bench.pick(250, 60)), _FIRST_LINE)


def _serial(lab: Lab, count: int) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=30)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found: list[float] = []
    for number in range(_WARM_UP + count):
        body, headers = _signed(f"s{number}")
        began = time.perf_counter()
        connection.request("POST", "/hooks/hook", body, headers)
        answer = connection.getresponse()
        answer.read()
        taken = (time.perf_counter() - began) * 1000
        assert answer.status == 202, answer.status
        if number >= _WARM_UP:
            found.append(taken)
    connection.close()
    return found


def _first_lines(lab: Lab, count: int) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=30)
    sent: dict[str, int] = {}
    stamps = lab.root / "stamps"

    def seen() -> int:
        return stamps.read_text().count("\n") if stamps.exists() else 0

    for number in range(_WARM_UP + count):
        body, headers = _signed(f"f{number}")
        sent[f"f{number}"] = time.time_ns()
        connection.request("POST", "/hooks/hook", body, headers)
        connection.getresponse().read()
        until(lambda number=number: seen() > number, "the job has run", timeout=30, every=0.005)  # type: ignore[misc]
        time.sleep(0.03)
    connection.close()
    lines = [line.split() for line in stamps.read_text().splitlines()]
    found = [(int(at) - sent[id]) / 1e6 for id, at in lines]
    return found[_WARM_UP:]


def _flood(lab: Lab, count: int, turn: int) -> float:
    """Deliveries a second, by a process of its own: its work is not the daemon's, but shares the machine."""
    argv = [sys.executable, "-m", "tests.bench.figures.webhooks", str(lab.port), str(count), str(turn)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=dict(os.environ))
    return float(done.stdout)


def flood(port: int, count: int, turn: int) -> float:
    """Send `count` deliveries over 64 connections, the next on each as soon as the last is answered; the rate."""
    import selectors

    requests = [_raw(f"t{turn}-{number}") for number in range(count)]
    selector, heard = selectors.DefaultSelector(), dict[socket.socket, bytes]()
    began, sent, answered = time.perf_counter(), 0, 0
    for _ in range(min(_CONNECTIONS, count)):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ)
        sock.sendall(requests[sent])
        sent += 1
    while answered < count:
        for key, _ in selector.select(30):
            sock = cast("socket.socket", key.fileobj)
            data = heard.pop(sock, b"") + sock.recv(65536)
            assert data.startswith(b"HTTP/1.1 202 "), data[:300]
            if not data.endswith(b"}"):
                heard[sock] = data
                continue
            answered += 1
            if sent < count:
                sock.sendall(requests[sent])
                sent += 1
    return count / (time.perf_counter() - began)


def _raw(id: str) -> bytes:
    body, headers = _signed(id)
    lines = [f"{name}: {value}" for name, value in {**headers, "Host": "x", "Content-Length": str(len(body))}.items()]
    return "\r\n".join(["POST /hooks/hook HTTP/1.1", *lines, "", ""]).encode() + body


FIGURE = Figure("webhooks", "a signed delivery -> durable 202, -> first line of the job", _measure)


if __name__ == "__main__":
    print(flood(*map(int, sys.argv[1:])))
