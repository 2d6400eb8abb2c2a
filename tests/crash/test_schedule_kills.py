"""Schedules through kill -9: each instant is decided once, and what fired has exactly one run."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.daemon import Site, site_at

EVERY = 0.1

PLUGIN = """
from freshet import RunRequest, Schedule, job, schedule


@job
def tock() -> None:
    return None


plain = Schedule("plain", every="100ms", target=tock, misfire="all", max_catch_up=10_000)


@schedule(every="100ms", target=tock, misfire="all", max_catch_up=10_000)
async def asked(ctx):
    return RunRequest(tags={"for": ctx.scheduled_time.isoformat()})
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path / "site", plugins={"clockwork.py": PLUGIN}, grace="2s") as made:
        yield made


def test_each_instant_is_decided_once_through_any_crash(site: Site) -> None:
    rng = random.Random(7)
    for _ in range(5):
        daemon = site.start().ready()
        wanted = len(fired(site, "plain")) + rng.randint(1, 8)
        daemon.wait_until(lambda wanted=wanted: len(fired(site, "plain")) >= wanted, "more instants have fired")  # type: ignore[misc]
        daemon.kill()
    daemon = site.start().ready()
    count = len(fired(site, "asked")) + 5
    daemon.wait_until(lambda: len(fired(site, "asked")) >= count, "the body has been asked again")
    assert daemon.stop() == 0
    for name, tag in (("plain", "freshet/scheduled_time"), ("asked", "for")):
        instants = fired(site, name)
        assert instants == sorted(set(instants)), "an instant is decided once"
        steps = {round((later - earlier) / EVERY) for earlier, later in pairwise(instants)}
        assert steps == {1}, f"{name}: an instant was missed"
        with closing(sqlite3.connect(site.state / "freshet.db")) as db:
            rows = db.execute(f"SELECT json_extract(tags, '$.\"{tag}\"') FROM runs WHERE origin = 'schedule:{name}'")
            runs = Counter(round(datetime.fromisoformat(text).timestamp(), 3) for (text,) in rows)
        assert runs == Counter(round(instant, 3) for instant in instants), "what fired has exactly one run"


def fired(site: Site, name: str) -> list[float]:
    with closing(sqlite3.connect(f"file:{site.state / 'freshet.db'}?mode=ro", uri=True)) as db:
        return [
            nominal
            for (nominal,) in db.execute(
                "SELECT s.nominal FROM schedule_ticks s JOIN tickers t ON t.id = s.ticker_id"
                " WHERE t.name = ? AND s.status = 'fired' ORDER BY s.nominal",
                (name,),
            )
        ]
