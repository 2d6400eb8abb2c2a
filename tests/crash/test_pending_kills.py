"""kill -9 while requests come to wait, are folded and are released: each becomes one thing, once, and none waits on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.crash.points import STORE_BOUNDARIES, Point
from tests.crash.test_stage_kills import killed, rows
from tests.support.daemon import Site, site_at

BATCHED, THROTTLED, DEBOUNCED = 7, 4, 600

PLUGIN = f"""
from pathlib import Path

from freshet import Batch, RunRequest, job, sensor


@job
def touch(items: list[dict] = [], n: str = "") -> None:
    return None


def asks(count):
    def look(ctx):
        done = ctx.cursor or 0
        if done < len(list(Path("rounds").glob("*"))):
            ctx.cursor = done + 1
            for n in range(count):
                yield RunRequest(run_key=f"{{ctx.name}} {{done}} {{n}}", params={{"n": f"{{done}} {{n}}"}})

    return look


def many(ctx): yield from asks({BATCHED})(ctx)
def slow(ctx): yield from asks({THROTTLED})(ctx)
def last(ctx): yield from asks({DEBOUNCED})(ctx)

sensor(name="many", interval="100ms", target=touch, batch=Batch(count=3, within="200ms"))(many)
sensor(name="slow", interval="100ms", target=touch, throttle="2/200ms")(slow)
sensor(name="last", interval="100ms", target=touch, debounce="200ms", overlap="queue")(last)
"""

POINTS = [
    *(Point(boundary, "release_pending") for boundary in STORE_BOUNDARIES),
    *(Point(boundary, "release_pending", 3) for boundary in STORE_BOUNDARIES),
    *(Point(boundary, "fold_pending") for boundary in STORE_BOUNDARIES),
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path / "site", plugins={"asks.py": PLUGIN}, grace="2s") as made:
        (made.folder / "rounds").mkdir()
        yield made


def test_killed_at_each_boundary_of_a_release(site: Site) -> None:
    for number, point in enumerate(POINTS):
        (site.folder / "rounds" / str(number)).touch()
        killed(site, point)
    rest(site, len(POINTS))
    check(site, len(POINTS))


def rest(site: Site, rounds: int) -> None:
    daemon = site.start().ready()
    asked = rounds * (BATCHED + THROTTLED + DEBOUNCED)
    settled = "SELECT count(*), sum(state = 'waiting') FROM pending"
    daemon.wait_until(lambda: rows(site, settled) == [(asked, 0)], "nothing waits any more")
    daemon.wait_until(daemon.idle, "nothing runs")
    assert daemon.stop() == 0


def check(site: Site, rounds: int) -> None:
    every = {name: sorted(wanted(rounds, count)) for name, count in (("many", BATCHED), ("slow", THROTTLED))}
    assert sorted(item["n"] for run in runs(site, "many") for item in run["items"]) == every["many"]
    assert sorted(run["n"] for run in runs(site, "slow")) == every["slow"]
    assert rows(site, "SELECT DISTINCT state FROM pending ORDER BY state") == [("admitted",), ("folded",)]
    led = [run["n"] for run in runs(site, "last")]
    assert len(led) == len(set(led)) <= rounds
    assert led[-1] == f"{rounds - 1} {DEBOUNCED - 1}", "what came last has run"
    keys = rows(site, "SELECT count(*) FROM run_keys")
    assert keys == [(rounds * (BATCHED + THROTTLED + DEBOUNCED),)]
    lost = """SELECT count(*) FROM pending p WHERE state = 'admitted' AND NOT EXISTS (
        SELECT 1 FROM runs r WHERE r.id = p.run_id AND r.state = 'succeeded')"""
    assert rows(site, lost) == [(0,)]
    assert rows(site, "PRAGMA integrity_check") == [("ok",)]


def wanted(rounds: int, count: int) -> list[str]:
    return [f"{done} {n}" for done in range(rounds) for n in range(count)]


def runs(site: Site, sensor: str) -> list[dict[str, Any]]:
    found = rows(site, "SELECT params FROM runs WHERE origin = ? ORDER BY id", f"sensor:{sensor}")
    return [json.loads(str(text)) for (text,) in found]
