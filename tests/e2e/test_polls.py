"""A URL and a database looked at by a whole daemon, through kill -9."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import orjson
from tests.support.daemon import Site, wait_until
from tests.support.web import Asked, Said, web

PLUGIN = """
from freshet import DynamicPartitions, job
from freshet_sensors import HttpSensor, SqlSensor

members = DynamicPartitions("members")


@job
def take(number: int) -> None:
    return None


HttpSensor("feed", url="URL", items="/all", key="{name}", partitions=members, interval="50ms",
           headers={"Authorization": "Bearer env:FEED_TOKEN"})
SqlSensor("rows", url="sqlite:///rows.db", cursor="number",
          query="SELECT number FROM rows WHERE number > :cursor ORDER BY number LIMIT 40",
          key="{number}", target=take, params=["number"], interval="50ms")
"""
MakeSite = Callable[..., Site]


def test_what_is_polled_is_admitted_once_through_any_crash(make_site: MakeSite) -> None:
    with web() as server:
        members: list[str] = []

        def answer(asked: Asked) -> Said:
            if asked.headers.get("authorization") != "Bearer s3cret":
                return Said(401)
            etag = f'"{len(members)}"'
            if asked.headers.get("if-none-match") == etag:
                return Said(304)
            return Said(body=orjson.dumps({"all": [{"name": name} for name in members]}), headers={"ETag": etag})

        server.answer = answer
        site = make_site(PLUGIN.replace("URL", server.url), env={"FEED_TOKEN": "s3cret"})
        database = site.state / "freshet.db"
        put_rows(site.folder / "rows.db", 0)
        for _ in range(3):
            daemon = site.start().ready()
            members += [f"m{len(members) + n}" for n in range(300)]
            put_rows(site.folder / "rows.db", 100)
            wanted = len(asked_for(database)) + 1
            wait_until(lambda: len(asked_for(database)) >= wanted, "some are admitted", every=0.001)  # noqa: B023
            daemon.kill()
        daemon = site.start().ready()
        daemon.wait_until(lambda: len(keys(database)) == 900 and len(asked_for(database)) >= 300, "all is admitted")
        assert Counter(asked_for(database)) == Counter(f"rows:{n}@{n}" for n in range(1, 301))
        daemon.wait_until(daemon.idle, "all has run")
        count = len(server.asked)
        daemon.wait_until(lambda: len(server.asked) > count + 3, "it goes on asking")
        assert server.asked[-1].headers["if-none-match"] == '"900"'
        assert {one.failures for one in map(daemon.client.sensor, ("feed", "rows"))} == {0}
        assert daemon.stop() == 0
        assert len(asked_for(database)) == 300


def put_rows(path: Path, count: int) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY)")
        db.executemany("INSERT INTO rows VALUES (?)", [(None,)] * count)


def asked_for(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as db:
        return [key for (key,) in db.execute("SELECT run_key FROM runs WHERE run_key LIKE '%@%'")]


def keys(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as db:
        return [key for (key,) in db.execute("SELECT key FROM partitions WHERE deleted_at IS NULL")]
