"""The watch for systems without inotify, by watchfiles: the same small interface."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from tests.sensors.support import World
from watchfiles import Change

from freshet import DynamicPartitions
from freshet_sensors import FileSensor, wake
from freshet_sensors.pattern import Pattern
from freshet_sensors.portable import PortableWatch

pytestmark = pytest.mark.anyio


async def until(met: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not met():
            await anyio.sleep(0.005)


async def test_files_wake_it_and_it_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake, "make_watch", PortableWatch)
    world = World()
    sensor = FileSensor(
        "landing",
        path=str(tmp_path),
        pattern="**/{b}.csv",
        partitions=DynamicPartitions("b"),
        target="raw",
        settle="20ms",
    )
    hinted: list[set[str] | None] = []

    async def live() -> None:
        async for hints in sensor.wakes():
            told = None if hints is None else set(hints)
            await world.tick(sensor, told, now=datetime.now(UTC))
            hinted.append(told)

    ended = 0.0
    async with anyio.create_task_group() as group:
        group.start_soon(live)
        await until(lambda: None in hinted)
        (tmp_path / "a.csv").write_text("x")
        await until(lambda: world.files_run == ["a.csv"])
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "b.csv").write_text("x")
        await until(lambda: world.files_run == ["a.csv", "sub/b.csv"])
        group.cancel_scope.cancel()
        ended = anyio.current_time()
    assert anyio.current_time() - ended < 1, "cancelling awatch itself takes four seconds"


async def test_what_watchfiles_says_is_put_into_changes(tmp_path: Path) -> None:
    watch = PortableWatch(str(tmp_path), Pattern("**/*.csv"))
    root = str(tmp_path)
    changes = watch.handle(
        {
            (Change.added, f"{root}/a.csv"),
            (Change.modified, f"{root}/b.csv"),
            (Change.deleted, f"{root}/c.csv"),
            (Change.added, f"{root}/sub"),
            (Change.added, f"{root}/.hidden/d.csv"),
            (Change.added, f"{root}/e.csv.part"),
        }
    )
    assert (changes.written, changes.gone, changes.folders) == ({"a.csv", "b.csv"}, {"c.csv"}, {"sub/"})
    assert not changes.full
    assert watch.handle({(Change.deleted, root)}).lost
