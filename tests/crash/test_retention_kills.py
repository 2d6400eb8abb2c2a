"""kill -9 while history goes: what must stay is there, what a crash left behind goes, and nothing runs again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.crash.points import STORE_BOUNDARIES, Point
from tests.support.daemon import IMPORT_TESTS, Site, site_at, wait_until

LOOKS = 30

PLUGIN = f"""
from pathlib import Path

from freshet import RunRequest, job, sensor


@job
def touch(n: int) -> None:
    print("touched", n)
    with Path("ran").open("a") as file:
        file.write(f"{{n}}\\n")


@sensor(interval="50ms", target=touch)
def looking(ctx):
    n = ctx.cursor or 0
    if n < {LOOKS}:
        yield RunRequest(run_key=str(n), params={{"n": n}})
        ctx.cursor = n + 1
    else:
        yield RunRequest(run_key="0", params={{"n": 0}})  # taken, for ever
"""

KINDS = ("forget_ticks", "forget_events", "forget_runs")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A state with a past of `LOOKS` runs, all over for longer than is kept from now on."""
    with site_at(tmp_path / "site", plugins={"plugin.py": PLUGIN}) as made:
        daemon = made.start().ready()
        daemon.wait_until(lambda: len(_ran(made)) >= LOOKS and daemon.idle(), "all have run")
        assert daemon.stop() == 0
        assert len(_folders(made)) == LOOKS
        made.config.write_text(made.config.read_text() + '[retention]\nticks = "1s"\nevents = "1s"\nruns = "1s"\n')
        ended = max(_ask(made, "SELECT ended_at FROM runs"))
        wait_until(lambda: time.time() > ended + 2, "all is older than a second")
        yield made


def _ask(site: Site, sql: str) -> list[Any]:
    with closing(sqlite3.connect(site.state / "freshet.db")) as db:
        return [row[0] for row in db.execute(sql)]


def _ran(site: Site) -> list[str]:
    file = site.folder / "ran"
    return file.read_text().split() if file.exists() else []


def _folders(site: Site) -> set[int]:
    return {int(path.name) for path in (site.state / "runs").iterdir() if path.name.isdecimal()}


def test_killed_while_history_goes(site: Site) -> None:
    """At each boundary of each kind, on one state; then a sweep to its end."""
    report = site.folder / "killed-at"
    for point in (Point(boundary, kind) for kind in KINDS for boundary in STORE_BOUNDARIES):
        if point.boundary == "after COMMIT" and point.kind == "forget_runs":
            left = _folders(site)
            assert left, "the files of runs go after the commit that forgets them"
        report.unlink(missing_ok=True)
        daemon = site.start(("-m", "tests.crash.child", str(point), str(report)), env=IMPORT_TESTS)
        assert daemon.wait_ended() == -9, point
        assert report.read_text() == f"{point}\n"
        assert _ask(site, "PRAGMA integrity_check") == ["ok"]
        assert len(_ask(site, "SELECT 1 FROM run_keys")) == LOOKS
        assert set(_ask(site, "SELECT id FROM runs")) <= _folders(site), "a run that is there has its files"
    assert _ask(site, "SELECT id FROM runs") == []
    assert _folders(site), "the crash came before they were removed"
    daemon = site.start().ready()
    daemon.wait_until(lambda: not _folders(site), "what the crash left is removed")
    assert daemon.stop() == 0
    assert sorted(_ran(site), key=int) == [str(n) for n in range(LOOKS)], "each ran once, keys or no history"
    assert len(_ask(site, "SELECT 1 FROM run_keys")) == LOOKS
    assert len(_ask(site, "SELECT id FROM ticks")) >= 20
