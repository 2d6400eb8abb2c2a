"""Other definitions that come into force are in force wholly or not at all, wherever the daemon is killed meanwhile."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.crash.points import Boundary, Point
from tests.support.daemon import IMPORT_TESTS, DaemonEnded, Site, site_at

from freshet.errors import DaemonUnreachable
from freshet.http.models import MaterializeBody

PLUGIN = """
from freshet import StaticPartitions, asset, schedule, sensor

@sensor(name="NAME_look", interval="100ms", WAS_LOOK)
async def look(ctx):
    ctx.cursor = (ctx.cursor or 0) + 1

@schedule(name="NAME_clock", every="1h", target="NAME_made", WAS_CLOCK)
def clock(): ...

@asset(name="NAME_made", overlap="allow", WAS_MADE)
def made() -> int:
    return 1

@asset(name="spread", partitions=StaticPartitions(KEYS, name="regions"))
def spread() -> int:
    return 1
"""
NAMES = ("look", "clock", "made")


def plugin(name: str, was: str | None, keys: list[str]) -> str:
    text = PLUGIN.replace("NAME", name).replace("KEYS", repr(keys))
    for one in NAMES:
        text = text.replace(f"WAS_{one.upper()}", f"was={was!r} and '{was}_{one}'" if was else "")
    return text


OLD, NEW = plugin("old", None, ["east"]), plugin("new", "old", ["east", "west"])
BOUNDARIES: tuple[Boundary, ...] = ("before BEGIN", "before COMMIT", "after COMMIT", "before publish")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path / "site", plugins={"plugin.py": OLD}, grace="2s") as made:
        yield made


def rows(site: Site, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{site.state / 'freshet.db'}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def names(site: Site) -> set[str]:
    """Of all that is called so or otherwise, as the store has it."""
    found = rows(site, "SELECT name FROM tickers UNION SELECT name FROM assets WHERE name <> 'spread'")
    return {name for (name,) in found}


def cursor(site: Site) -> int:
    ((found,),) = rows(site, "SELECT cursor FROM tickers WHERE kind = 'sensor'")
    return int(found or 0)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_old_or_the_new_are_wholly_in_force(site: Site, boundary: Boundary) -> None:
    point, report = Point(boundary, "bring_into_force"), site.folder / "killed-at"
    daemon = site.start(("-m", "tests.crash.child", str(point), str(report)), env=IMPORT_TESTS).ready()
    daemon.client.materialize(MaterializeBody(assets=("spread",), partition="east"))
    daemon.client.materialize(MaterializeBody(assets=("old_made",)))
    daemon.wait_until(lambda: cursor(site) > 1 and daemon.idle(), "all has begun")
    looks = cursor(site)
    with contextlib.suppress(DaemonEnded, DaemonUnreachable):
        (site.plugins / "plugin.py").write_text(NEW)
        daemon.wait_until(lambda: False, "it is killed")
    assert daemon.wait_ended() == -9
    assert report.read_text() == f"{point}\n"
    name, keys = ("new", 2) if boundary in ("after COMMIT", "before publish") else ("old", 1)
    assert names(site) == {f"{name}_{one}" for one in NAMES}
    query = "SELECT count(*) FROM partitions k JOIN partition_sets s ON s.id = k.set_id WHERE s.name = 'regions'"
    assert rows(site, query) == [(keys,)]
    daemon = site.start().ready()
    assert names(site) == {f"new_{one}" for one in NAMES}
    daemon.wait_until(lambda: cursor(site) > looks and len(daemon.runs("new_made")) == 1, "it goes on")
    assert daemon.stop() == 0
    assert rows(site, "SELECT count(*) FROM runs WHERE target = 'spread'") == [(1,)]
