"""An edit of a function is answered once, wherever the daemon that loads it is killed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.crash.points import STORE_BOUNDARIES, Point
from tests.support.daemon import IMPORT_TESTS, Daemon, Site, site_at

PLUGIN = """
from freshet import AutomationCondition, asset

C = AutomationCondition


@asset(automation=C.code_version_changed() | C.on_missing())
def made() -> int:
    # how much
    return 1


@asset(automation=C.any_deps_match(C.data_version_changed()).since_last_handled() & ~C.in_progress())
def below(made: int) -> int:
    return made
"""

POINTS = [
    *(Point(boundary, "register_definitions") for boundary in STORE_BOUNDARIES),
    *(Point(boundary, "commit_automation") for boundary in STORE_BOUNDARIES),
    Point("before launch", "commit_automation"),
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path / "site", plugins={"plugin.py": PLUGIN}, grace="2s") as made:
        yield made


def edit(site: Site, old: str, new: str) -> None:
    file = site.plugins / "plugin.py"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def at_rest(site: Site, runs: dict[str, int]) -> Daemon:
    """A daemon that has made these assets so many times and has nothing to do."""
    daemon = site.start().ready()
    daemon.wait_until(lambda: daemon.idle() and made(site) == runs, f"{runs} at rest, not {made(site)}")
    return daemon


def made(site: Site) -> dict[str, int]:
    """How many runs with a step of each have succeeded; whatever else there is shows with a count of its own."""
    found = rows(site, "SELECT name || iif(state = 'succeeded', '', state), count(*) FROM steps GROUP BY 1")
    return dict(found)


def rows(site: Site, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{site.state / 'freshet.db'}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_an_edit_is_answered_once(site: Site, point: Point) -> None:
    assert at_rest(site, {"made": 1, "below": 1}).stop() == 0
    edit(site, "return 1", "return 2")
    report = site.folder / "killed-at"
    daemon = site.start(("-m", "tests.crash.child", str(point), str(report)), env=IMPORT_TESTS)
    assert daemon.wait_ended() == -9 and report.read_text() == f"{point}\n"
    for _ in range(2):
        assert at_rest(site, {"made": 2, "below": 2}).stop() == 0
    told = rows(site, "SELECT data FROM events WHERE type = 'code_changed'")
    assert len(told) == 1


def test_what_an_edit_leaves_as_it_was_wakes_nobody(site: Site) -> None:
    """A remark moves nothing; other code that makes the same data makes nothing below."""
    assert at_rest(site, {"made": 1, "below": 1}).stop() == 0
    edit(site, "# how much", "# how many")
    daemon = at_rest(site, {"made": 1, "below": 1})
    assert not daemon.client.asset("made").outdated and daemon.stop() == 0
    edit(site, "return 1", "return 3 - 2 if made else 0")
    daemon = at_rest(site, {"made": 2, "below": 1})
    answer = daemon.client.asset("made")
    assert answer.code_version == answer.made_by and not answer.outdated and answer.data_version is not None
    assert daemon.stop() == 0


def test_what_was_made_by_old_code_is_shown(site: Site) -> None:
    assert at_rest(site, {"made": 1, "below": 1}).stop() == 0
    edit(site, "return made\n", "return made + 1\n")
    daemon = at_rest(site, {"made": 1, "below": 1})
    answer = daemon.client.asset("below")
    assert answer.outdated and answer.code_version != answer.made_by
    said = site.cli("assets", "below").stdout
    assert f"code {answer.code_version}, last made by {answer.made_by}" in said and str(answer.data_version) in said
    assert daemon.stop() == 0
