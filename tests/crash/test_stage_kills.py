"""kill -9 while a large outcome is written down, decided and carried out: all of it or nothing, runs exactly once."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.crash.points import STORE_BOUNDARIES, Point
from tests.support.daemon import IMPORT_TESTS, DaemonEnded, Site, site_at

KEYS, ENTRIES, REPORTS, RUNS = 34_100, 2100, 250, 12  # more pieces than are written down at once

PLUGIN = f"""
from pathlib import Path

from freshet import AddPartitions, DynamicPartitions, Report, RunRequest, asset, job, sensor

batches = DynamicPartitions("batches")


@asset(partitions=batches)
def raw() -> None:
    return None


@job
def touch() -> None:
    return None


@sensor(interval="100ms", target=touch)
async def landing(ctx):
    done = ctx.cursor or 0
    if done < len(list(Path("rounds").glob("*"))):
        keys = [f"{{done}}-{{n:05}}" for n in range({KEYS})]
        yield AddPartitions(batches, keys)
        for key in keys[:{ENTRIES}]:
            ctx.ledger.add(key)
        for key in keys[:{REPORTS}]:
            yield Report("raw", partition=key)
        for key in keys[:{RUNS}]:
            yield RunRequest(run_key=key)
        ctx.cursor = done + 1
"""

UNDECIDED = [
    *(Point(boundary, "begin_stage") for boundary in STORE_BOUNDARIES),
    *(Point(boundary, "stage_pieces", 2) for boundary in STORE_BOUNDARIES),
    *(Point(boundary, "commit_tick (staged)") for boundary in ("before BEGIN", "before COMMIT")),
]
DECIDED = [
    Point("after COMMIT", "commit_tick (staged)"),
    *(Point(boundary, "carry_out") for boundary in ("before BEGIN", "before COMMIT", "after COMMIT", "before publish")),
    *(Point(boundary, "carry_out", 3) for boundary in ("before COMMIT", "after COMMIT")),
    *(Point(boundary, "carry_out") for boundary in ("before launch", "after receipt", "before result")),
]
AT_START = {"drop_stage": UNDECIDED[-1], "carry_out": DECIDED[0]}
"""The kinds that a start has to do with, and what leaves them to it."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path / "site", plugins={"large.py": PLUGIN}, grace="2s") as made:
        (made.folder / "rounds").mkdir()
        yield made


@pytest.mark.parametrize("points", [UNDECIDED, DECIDED], ids=["undecided", "decided"])
def test_killed_at_each_boundary_of_a_large_outcome(site: Site, points: list[Point]) -> None:
    for number, point in enumerate(points):
        (site.folder / "rounds" / str(number)).touch()
        killed(site, point)
        assert keys_of(site, number) == 0 or decided(site) or ended(site, number), f"{point}: half of it holds"
        assert points is DECIDED or keys_of(site, number) == 0
        rest(site, number + 1)
    check(site, len(points))


@pytest.mark.parametrize("kind", AT_START)
def test_killed_while_a_start_ends_what_was_left(site: Site, kind: str) -> None:
    for number, boundary in enumerate(STORE_BOUNDARIES):
        (site.folder / "rounds" / str(number)).touch()
        killed(site, AT_START[kind])
        killed(site, Point(boundary, kind))
        rest(site, number + 1)
    check(site, len(STORE_BOUNDARIES))


def killed(site: Site, point: Point) -> None:
    report = site.folder / "killed-at"
    report.unlink(missing_ok=True)
    daemon = site.start(("-m", "tests.crash.child", str(point), str(report)), env=IMPORT_TESTS)
    with contextlib.suppress(DaemonEnded):
        daemon.wait_until(lambda: False, str(point))  # it ends first
    assert daemon.wait_ended() == -9
    assert report.read_text() == f"{point}\n"


def rest(site: Site, rounds: int) -> None:
    """A daemon that is not disturbed takes in all rounds."""
    daemon = site.start().ready()
    done = "SELECT count(*) FROM runs WHERE state = 'succeeded'"
    daemon.wait_until(lambda: rows(site, done) == [(rounds * RUNS,)], "every run of every round has succeeded")
    daemon.wait_until(daemon.idle, "nothing runs")
    assert daemon.stop() == 0


def rows(site: Site, sql: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{site.state}/freshet.db?mode=ro", uri=True)) as db:
        return db.execute(sql, values).fetchall()


def keys_of(site: Site, number: int) -> object:
    return rows(site, "SELECT count(*) FROM partitions WHERE key GLOB ?", f"{number}-*")[0][0]


def decided(site: Site) -> bool:
    return bool(rows(site, "SELECT 1 FROM stages WHERE decided_at IS NOT NULL"))


def ended(site: Site, number: int) -> bool:
    return keys_of(site, number) == KEYS


def check(site: Site, rounds: int) -> None:
    def count(what: str) -> object:
        return rows(site, f"SELECT count(*) FROM {what}")[0][0]

    assert [count("stages"), count("stage_pieces")] == [0, 0]
    assert count("partitions WHERE deleted_at IS NULL") == rounds * KEYS
    assert count("ledger") == rounds * ENTRIES
    reports = "SELECT count(*), count(DISTINCT partition) FROM events WHERE type = 'materialized'"
    assert rows(site, reports) == [(rounds * REPORTS, rounds * REPORTS)]
    assert rows(site, "SELECT count(*), count(DISTINCT run_key) FROM runs") == [(rounds * RUNS, rounds * RUNS)]
    assert count("run_keys") == rounds * RUNS
    assert rows(site, "SELECT DISTINCT state FROM runs") == [("succeeded",)]
    said = "SELECT sum(runs), sum(partitions_added), sum(ledger_added) FROM ticks"
    assert rows(site, said) == [(rounds * RUNS, rounds * KEYS, rounds * ENTRIES)]
    assert rows(site, "SELECT ledger_revision FROM tickers WHERE name = 'landing'") == [(rounds,)]
    last = "coalesce(json_extract(data, '$.last'), partition)"
    added = rows(site, f"SELECT partition, {last} FROM events WHERE type = 'partition_added'")
    numbers = sorted(number for first, last in added for number in range(int(str(first)), int(str(last)) + 1))
    assert numbers == list(range(1, rounds * KEYS + 1))
    assert rows(site, "PRAGMA integrity_check") == [("ok",)]
    assert rows(site, "PRAGMA foreign_key_check") == []
