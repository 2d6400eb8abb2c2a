"""A hundred thousand assets: from the start to the first evaluation, one event, and rest."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from tests.bench.api import Api
from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.figures.graph import idle_beside_empty
from tests.bench.figures.layered import ask, layered_plugin
from tests.bench.lab import Lab
from tests.bench.processes import cpu_seconds, proportional_bytes, resident_bytes
from tests.bench.waiting import TookTooLong, until

__all__ = ["FIGURE"]

_LAYERS, _WIDTH = 1000, 100
_MANY = _LAYERS * _WIDTH
_START = Bar(median=10)
_EVENT = Bar(median=5)
_IDLE = Bar(median=0.02)
_FINE = 0.0002


def _measure(bench: Bench) -> Iterator[Row]:
    fresh, again, cpu = list[float](), list[float](), list[float]()
    with bench.lab("large", layered_plugin(_LAYERS, _WIDTH)) as lab:
        for _ in range(bench.pick(3, 1)):
            lab.stop()
            shutil.rmtree(lab.root / "state", ignore_errors=True)
            fresh.append(lab.start())
            cpu.append(cpu_seconds(lab.pid))
            _evaluated(lab)
        yield Row.of(f"{_MANY:,} eager assets: start -> ready and looked at", "s", fresh, _START, note="empty state")
        yield Row.of("  CPU of all processes for it", "s", cpu)
        events = _events(lab, bench.pick(20, 5))
        yield Row.of("  an update above a leaf durable -> its evaluation durable", "ms", events, _EVENT)
        yield idle_beside_empty(bench, lab, f"{_MANY:,} eager assets", _IDLE)
        sizes = proportional_bytes(lab.pid).values()
        yield Row.of("  resident set size of the daemon", "MiB", [resident_bytes(lab.pid)[0] / 2**20])
        yield Row.of(f"  proportional set size, {len(sizes)} processes", "MiB", [sum(sizes) / 2**20])
        lab.stop()
        again.append(lab.start())
        yield Row.of("  start -> ready, on the state before", "s", again, _START)


def _evaluated(lab: Lab) -> None:
    """It was looked at each of them, and that is durable."""
    ((count,),) = ask(lab, "SELECT count(*) FROM condition_state WHERE node LIKE 'first-%'")
    assert count == _MANY - _WIDTH, f"{count} conditions were looked at when it was ready"


def _events(lab: Lab, count: int) -> list[float]:
    """Milliseconds from the commit of a materialization to that of the request which its evaluation makes, as another
    process sees both."""
    left, right = f"a{_LAYERS - 2}_3", f"a{_LAYERS - 2}_4"
    leaf, found = f"a{_LAYERS - 1}_3", list[float]()
    with lab.api() as api:
        api.post("runs", {"assets": [left]})
        until(lambda: _made(lab, left) == 1, "the other parent", timeout=30)
        for turn in range(1, count + 1):
            lab.settle()
            found.append(_gap(lab, api, right, leaf) * 1000)
            until(lambda: _made(lab, leaf) == turn, "the leaf", timeout=30)  # noqa: B023  # asked at once
    return found


def _gap(lab: Lab, api: Api, above: str, leaf: str) -> float:
    with closing(sqlite3.connect(f"file:{lab.root / 'state' / 'freshet.db'}?mode=ro", uri=True)) as db:
        names: dict[int, str] = dict(db.execute("SELECT id, name FROM assets WHERE name IN (?, ?)", (above, leaf)))
        (seq,) = db.execute("SELECT max(seq) FROM events").fetchone()
        api.post("runs", {"assets": [above]})
        durable, end = 0.0, time.perf_counter() + 30
        while time.perf_counter() < end:
            rows = db.execute("SELECT seq, type, asset_id FROM events WHERE seq > ? ORDER BY seq", (seq,)).fetchall()
            now = time.perf_counter()
            for number, kind, asset in rows:
                seq = number
                if kind == "materialized" and names.get(asset) == above:
                    durable = now
                elif kind in ("requested", "started") and names.get(asset) == leaf and durable:
                    return now - durable
            time.sleep(_FINE)
    raise TookTooLong(f"no request of {leaf} after {above} was made")


def _made(lab: Lab, asset: str) -> int:
    query = "SELECT count(*) FROM steps s JOIN assets a ON a.id = s.asset_id WHERE a.name = ? AND s.state = 'succeeded'"
    ((count,),) = ask(lab, query, asset)
    return int(count)


FIGURE = Figure("large", "100,000 eager assets: start, one event, rest", _measure)
