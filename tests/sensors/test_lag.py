"""What a sensor has seen and not admitted is its lag: most of all while its looks fail."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig
from tests.sensors.support import World
from tests.sensors.test_stream_sensor import Source, watched

from freshet import AddPartitions, RunRequest, SensorContext, job, sensor
from freshet.cli.commands.show import _sensor_said  # pyright: ignore[reportPrivateUsage]
from freshet.http.api.convert import sensor_answer
from freshet_sensors import FileSensor, Message, SqlSensor

pytestmark = pytest.mark.anyio


@job
def work() -> None: ...


@job
def load(id: int) -> None: ...


def lag(made: Rig) -> tuple[int, float | None]:
    (found,) = made.control.sensors()
    return found.lag, found.lag_since


async def test_files_that_have_not_stood_still_yet(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    landing = FileSensor("landing", path=inbox, settle="15s", target=work, interval="10s")
    async with rig(tmp_path, [work, landing]) as made:
        now = made.clock.now()
        for name in "abc":
            (inbox / name).write_text("x")
            os.utime(inbox / name, (now, now))
        await made.control.tick("landing")
        await made.settle()
        count, since = lag(made)
        assert (count, since is not None and abs(since - now) < 11) == (3, True)
        await made.advance(30)
        assert (lag(made), len(await made.runs("work"))) == ((0, None), 3)


async def test_how_a_sensor_stands_is_shown_until_it_says_so_no_more(tmp_path: Path) -> None:
    far, broken = [True], [True]

    @sensor(interval="10s")
    def landing(ctx: Any) -> None:
        if far:
            ctx.notice("polling: it is far away")
        if broken:
            raise OSError("no more")

    async with rig(tmp_path, [landing]) as made:

        def said() -> list[str]:
            (state,) = made.control.sensors()
            return list(_sensor_said(sensor_answer(landing.spec, state), whole=False))

        await made.advance(1)
        assert said()[-1] == "polling: it is far away"
        broken.clear()
        await made.advance(30)
        assert said() == ["polling: it is far away"]
        far.clear()
        await made.advance(10)
        assert said() == []


async def test_rows_that_were_read_and_not_admitted(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1), (2), (3)")
    full = [True]

    class Refusing(SqlSensor):
        async def evaluate(self, ctx: SensorContext) -> AsyncIterator[AddPartitions | RunRequest]:
            async for one in super().evaluate(ctx):
                if full:
                    raise OSError("no more")
                yield one

    reads = Refusing(
        "reads",
        url=f"sqlite:///{path}",
        query="SELECT id FROM orders WHERE id > :cursor ORDER BY id",
        target=load,
        params=["id"],
        interval="10s",
    )
    async with rig(tmp_path, [load, reads]) as made:
        await made.advance(1)
        assert lag(made) == (3, None)
        full.clear()
        await made.advance(60)
        assert (lag(made), len(await made.runs("load"))) == ((0, None), 3)


class Refusing(Source):
    """Admits nothing but by permission."""

    refuses_all = True

    def admit(self, message: Message) -> Any:
        if self.refuses_all:
            raise ValueError("no such luck")
        return super().admit(message)


async def test_messages_that_no_look_can_admit() -> None:
    source, world = Refusing(), World()
    async with watched(source, world) as wakes:
        source.put("1", "2", "3")
        while source.read < 3:
            await wakes.get()
        with pytest.raises(ValueError, match="no such luck"):
            await world.tick(source)
        assert world.lagging is not None
        assert (world.lagging[0], world.lagging[1] is not None) == (3, True)
        source.refuses_all = False
        await world.tick(source)
        assert world.lagging == (0, None)
