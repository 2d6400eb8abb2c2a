"""Backfills through kill -9: nothing that succeeded runs again, nothing is forgotten."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.daemon import Site, site_at

from freshet.http.models import BackfillBody

COUNT = 40

PLUGIN = f"""
from freshet import StaticPartitions, asset

parts = StaticPartitions([f"p{{number:02}}" for number in range({COUNT})], name="parts")


@asset(partitions=parts)
def raw(ctx) -> str:
    if ctx.partition.key == "p07":
        raise ValueError("never")
    return ctx.partition.key


@asset(partitions=parts)
def clean(raw: str) -> str:
    return raw


@asset(deps=[clean])
def total() -> int:
    return 1
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path / "site", plugins={"parts.py": PLUGIN}, grace="2s") as made:
        yield made


@pytest.mark.parametrize("seed", [1, 2])
def test_each_partition_is_made_once_through_any_crash(site: Site, seed: int) -> None:
    rng = random.Random(seed)
    daemon = site.start().ready()
    body = BackfillBody(assets=("raw",), select="all", downstream=True)
    backfill = daemon.client.backfill_begin(body).id
    for _ in range(4):
        wanted = ended(site) + rng.randint(0, 12)
        daemon.wait_until(
            lambda wanted=wanted: ended(site) >= min(wanted, 2 * COUNT - 1),  # type: ignore[misc]
            "more steps have ended",
            every=0.001,
        )
        daemon.kill()
        daemon = site.start().ready()
    answer = daemon.wait_until(
        lambda: found if (found := daemon.client.backfill(backfill)).ended else None, "the backfill has ended"
    )
    assert answer.error == "1 failed, 2 blocked below them"
    assert [(one.wanted, one.done, one.failed, one.blocked) for one in answer.progress] == [
        (COUNT, COUNT - 1, 1, 0),
        (COUNT, COUNT - 1, 0, 1),
        (1, 0, 0, 1),
    ]
    assert daemon.stop() == 0
    steps = rows(site, "SELECT name, partition, state FROM steps")
    made = Counter((name, partition) for name, partition, state in steps if state == "succeeded")
    assert set(made.values()) == {1}, "what succeeded ran again"
    assert len(made) == 2 * (COUNT - 1)
    assert len(steps) == 2 * COUNT, "asked for once"


def ended(site: Site) -> int:
    return int(rows(site, "SELECT count(*) FROM steps WHERE state IN ('succeeded', 'failed')")[0][0])


def rows(site: Site, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{site.state / 'freshet.db'}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()
