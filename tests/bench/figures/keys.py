"""Keys by the hundred thousand and the million in one request, and what others feel of it meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from tests.bench.api import Api
from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.lab import Lab

__all__ = ["FIGURE"]

_PLUGIN = """\
from freshet import DynamicPartitions, asset

many = DynamicPartitions("many")
others = DynamicPartitions("others")


@asset(partitions=many)
def one():
    return None


@asset(partitions=others)
def other():
    return None
"""
_COMMIT_EVERY = 0.005
_STATUS_EVERY = 0.02


def _measure(bench: Bench) -> Iterator[Row]:
    for count, bar in ((100_000, 0.5), (1_000_000, 6.0)):
        for form, name in (("text/plain", "text"), ("application/x-ndjson", "NDJSON")):
            if bench.quick and form != "text/plain":
                continue
            with bench.lab(f"keys-{count}-{name}", {"keys.py": _PLUGIN}) as lab:
                lab.settle()  # its API has answered
                yield from _register(lab, count, form, bar, f"{count:,} keys as {name}")


def _register(lab: Lab, count: int, form: str, bar: float, what: str) -> Iterator[Row]:
    commits, statuses = list[float](), list[float]()
    body = _body(count, form)
    with _meanwhile(lab, commits, statuses):
        began = time.perf_counter()
        changed = _send(lab, body, form)
        took = time.perf_counter() - began
    assert changed == count, f"{changed} of {count} are new"
    yield Row.of(f"{what}, from the first byte to the answer", "s", [took], Bar(bar))
    yield Row.of(
        f"{what}: a commit of others meanwhile", "ms", commits, Bar(p99=50.0), note="one every 5 ms, over HTTP"
    )
    yield Row.of(f"{what}: status meanwhile", "ms", statuses, Bar(p99=50.0), note="one every 20 ms")
    began = time.perf_counter()
    assert _send(lab, body, form) == 0
    yield Row.of(f"{what}, all there already", "s", [time.perf_counter() - began])
    began = time.perf_counter()
    assert _send(lab, body, form, "DELETE") == count
    yield Row.of(f"{what}, deleted", "s", [time.perf_counter() - began])


def _body(count: int, form: str) -> bytes:
    keys = (f"batch-{number:08}" for number in range(count))
    lines = keys if form == "text/plain" else map(json.dumps, keys)
    return "\n".join(lines).encode()


def _send(lab: Lab, body: bytes, form: str, method: str = "POST") -> int:
    with lab.api() as api:
        return int(api.send(method, "partitions/many", body, form)["changed"])


@contextmanager
def _meanwhile(lab: Lab, commits: list[float], statuses: list[float]) -> Generator[None, None, None]:
    """While the block runs, others commit and ask; milliseconds of each go to the lists."""
    ended = threading.Event()

    def keep(every: float, ask: Callable[[Api, int], object], found: list[float]) -> None:
        with lab.api() as api:
            number, due = 0, time.perf_counter()
            while not ended.is_set():
                began = time.perf_counter()
                ask(api, number)
                found.append((time.perf_counter() - began) * 1000)
                number, due = number + 1, max(due + every, time.perf_counter())
                time.sleep(max(0.0, due - time.perf_counter()))

    def commit(api: Api, number: int) -> object:
        return api.post("partitions/others", {"keys": {f"other-{number}": {}}})

    def status(api: Api, number: int) -> object:
        return api.get("status")

    threads = [
        threading.Thread(target=keep, args=(_COMMIT_EVERY, commit, commits)),
        threading.Thread(target=keep, args=(_STATUS_EVERY, status, statuses)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


FIGURE = Figure("keys", "100,000 and a million keys in one request, and the commits of others meanwhile", _measure)
