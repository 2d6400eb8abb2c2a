"""Several sensors with one target, in a whole engine: what one of them has found is nothing to the others."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs
from tests.engine.rig import rig
from tests.support.web import Said, web

from freshet import Sensor, job
from freshet_sensors import FileSensor, HttpSensor, Message, SqlSensor, StreamSensor

pytestmark = pytest.mark.anyio


@job
def notify(what: str | None = None, id: int | None = None) -> None: ...


class Lines(StreamSensor):
    async def messages(self, after: str | None) -> AsyncIterator[Message]:
        for key in ("a", "b"):
            yield Message(key)


def _tables(folder: Path) -> list[Sensor]:
    with closing(sqlite3.connect(folder / "orders.db")) as db, db:
        for table in ("orders", "users"):
            db.execute(f"CREATE TABLE {table} (id INTEGER)")
            db.executemany(f"INSERT INTO {table} VALUES (?)", [(1,), (2,)])
    return [
        SqlSensor(
            table,
            url=f"sqlite:///{folder / 'orders.db'}",
            query=f"SELECT '{table}' AS what, id FROM {table} WHERE id > :cursor ORDER BY id LIMIT 100",
            params=["what", "id"],
            target=notify,
        )
        for table in ("orders", "users")
    ]


async def _counts(folder: Path, sensors: list[Sensor]) -> dict[str, int]:
    async with rig(folder, [notify, *sensors]) as made:
        for one in sensors:
            await made.control.tick(one.name)
        await made.settle()
        runs = await made.runs("notify")
        return {one.name: sum(run.origin == f"sensor:{one.name}" for run in runs) for one in sensors}


async def test_equal_rows_of_two_tables_run_for_both(tmp_path: Path) -> None:
    assert await _counts(tmp_path, _tables(tmp_path)) == {"orders": 2, "users": 2}


async def test_equal_members_of_two_lists_and_one_state_seen_twice_run_for_each(tmp_path: Path) -> None:
    with web() as server:
        server.answer = lambda _: Said(body=orjson.dumps([{"id": "a"}, {"id": "b"}]))
        lists: list[Sensor] = [
            HttpSensor(name, url=f"{server.url}/{name}", items="", target=notify) for name in ("one", "two")
        ]
        states: list[Sensor] = [HttpSensor(name, url=server.url, target=notify) for name in ("three", "four")]
        found = await _counts(tmp_path, [*lists, *states])
    assert found == {"one": 2, "two": 2, "three": 1, "four": 1}


async def test_equal_messages_of_two_streams_are_named_by_their_sensors() -> None:
    asked = [Lines(name, target=notify).admit(Message("a")) for name in ("one", "two")]
    assert [getattr(one, "run_key", None) for one in asked] == ["one:a", "two:a"]


async def test_one_file_that_two_sensors_watch_is_run_once_and_the_log_says_which_run_has_it(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "in.dat").write_text("x")
    pair = [FileSensor(name, path=inbox, settle="0s", target=notify, interval="1h") for name in ("one", "two")]
    with capture_logs() as logs:
        async with rig(tmp_path, [notify, *pair]) as made:
            for one in pair:
                await made.control.tick(one.name)
            await made.settle()
            (run,) = await made.runs("notify")
    told = [line for line in logs if "dropped" in line["event"]]
    assert [line["event"] for line in told] == [
        f"1 dropped: their run keys are taken, e.g. {run.run_key} by run {run.id}"
    ]
    assert told[0]["log_level"] == "info"
    assert {f"sensor:{told[0]['sensor']}", run.origin} == {"sensor:one", "sensor:two"}
