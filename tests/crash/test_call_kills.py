"""kill -9 while steps ask for runs, wait for them and go on: each call comes to one run that succeeds, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.crash.points import BOUNDARIES, STORE_BOUNDARIES, Point
from tests.crash.test_stage_kills import killed, rows
from tests.support.daemon import Site, site_at

PLUGIN = """
from pathlib import Path

from freshet import Retries, RunRequest, asset, job, sensor


@asset
def made() -> int:
    return 1


@job
def leaf(n: int, of: int) -> None:
    return None


@job
def child(ctx, n: int, of: int) -> None:
    ctx.call(leaf, n=n, of=of)


@job
def parent(ctx, n: int) -> None:
    ctx.call(child, n=n, of=0)
    ctx.call(made)
    ctx.call(leaf, n=n, of=1)
    ctx.call(leaf, n=n, of=1)
    ctx.call(leaf, n=n, of=2, wait=False)


@sensor(interval="100ms", target=parent)
def asks(ctx):
    done = ctx.cursor or 0
    if done < len(list(Path("rounds").glob("*"))):
        ctx.cursor = done + 1
        yield RunRequest(run_key=str(done), params={"n": done})
"""
CALLS = 6
AT_ONCE = 8
"""Points on one state: a run may be cut off ten times."""

POINTS = [
    *(Point(boundary, "call_run") for boundary in BOUNDARIES),
    *(Point(boundary, "call_run", passage) for passage in (2, 5, 6) for boundary in STORE_BOUNDARIES),
    *(Point(boundary, "finish_step (succeeded)", passage) for passage in (1, 3) for boundary in STORE_BOUNDARIES),
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path / "site", plugins={"asks.py": PLUGIN}, grace="2s") as made:
        (made.folder / "rounds").mkdir()
        yield made


@pytest.mark.parametrize("first", range(0, len(POINTS), AT_ONCE))
def test_killed_at_each_boundary_of_a_call(site: Site, first: int) -> None:
    points = POINTS[first : first + AT_ONCE]
    for number, point in enumerate(points):
        (site.folder / "rounds" / str(number)).touch()
        killed(site, point)
    count = len(points)
    daemon = site.start().ready()
    done = "SELECT count(*) FROM runs WHERE target = 'parent' AND state = 'succeeded'"
    daemon.wait_until(lambda: rows(site, done) == [(count,)], "all that asks has ended")
    daemon.wait_until(daemon.idle, "nothing runs")
    assert daemon.stop() == 0
    assert rows(site, "SELECT state, count(*) FROM runs GROUP BY 1") == [("succeeded", count * (1 + CALLS))]
    of_each = "SELECT DISTINCT n FROM (SELECT count(*) AS n FROM sub_runs GROUP BY parent, position, call)"
    assert rows(site, of_each) == [(1,)]
    depths = "SELECT depth, count(*) FROM runs WHERE target <> 'parent' GROUP BY 1 ORDER BY 1"
    (base,) = {depth for (depth,) in rows(site, "SELECT depth FROM runs WHERE target = 'parent'")}
    assert isinstance(base, int)
    assert rows(site, depths) == [(base + 1, count * (CALLS - 1)), (base + 2, count)]
