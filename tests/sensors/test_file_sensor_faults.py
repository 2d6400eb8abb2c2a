"""What may be wrong with a folder, and with what lies in it: real folders, no waiting."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.sensors.living import land, living, state
from tests.sensors.support import World, put, sensor

from freshet import FreshetError, RetryLater, Skip

pytestmark = pytest.mark.anyio


async def test_a_missing_folder_is_said_and_waited_for(inbox: Path) -> None:
    world, each = World(), sensor(inbox)
    inbox.rmdir()
    for _ in range(3):
        assert await world.tick(each) == [Skip(f"the folder {inbox} is not there; it is watched for", waiting=True)]
    put(inbox, "a.csv")
    await world.tick(each)
    assert world.files_run == ["a.csv"]
    assert world.log.lines == [], "the daemon says it"


async def test_a_folder_that_goes_away_deletes_nothing(inbox: Path) -> None:
    world, each = World(), sensor(inbox, retire=True, settle="0s")
    put(inbox, "a.csv")
    await world.tick(each)
    inbox.rename(inbox.parent / "aside")
    await world.tick(each)
    assert (set(world.partitions), set(world.entries)) == ({"a"}, {"a.csv"})


async def test_an_unmounted_folder_deletes_nothing(inbox: Path) -> None:
    world, each = World(), sensor(inbox, retire=True, settle="0s")
    put(inbox, "a.csv")
    await world.tick(each)
    world.cursor = world.cursor | {"device": world.cursor["device"] + 1}
    (inbox / "a.csv").unlink()
    said: Sequence[Any] = await world.tick(each)
    assert len(said) == 1
    assert "not mounted" in said[0].reason
    assert set(world.partitions) == {"a"}
    put(inbox, "b.csv")
    await world.tick(each)
    assert set(world.partitions) == {"b"}, "a folder with files is there, on whatever device"


async def test_what_lies_in_an_unreadable_folder_is_not_gone(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, each = World(), sensor(inbox, pattern="{day}/{b}.csv", retire=True, settle="0s")
    put(inbox, "mon/a.csv")
    put(inbox, "tue/b.csv")
    await world.tick(each)
    (inbox / "tue/b.csv").unlink()
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("/mon/"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        await world.tick(each)
        await world.tick(each)
    assert set(world.partitions) == {"mon-a"}
    assert [line[1] for line in world.log.lines] == ["folders that may not be read"]


@pytest.mark.parametrize("follow", [False, True])
async def test_what_lies_deeper_than_any_path_is_told_and_blocks_nobody(inbox: Path, follow: bool) -> None:
    put(inbox, "good.csv")
    name, above = "d" * 200, os.open(inbox, os.O_RDONLY)
    for _ in range(30):
        os.mkdir(name, dir_fd=above)
        below = os.open(name, os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)
    async with living(inbox, pattern="**/{name}.csv", settle="0s", follow=follow) as life:
        await life.look()
        land(inbox / "later.csv")
        await life.until(lambda: life.world.files_run == ["good.csv", "later.csv"])
        assert state(life) == "watching"
    assert [line[1] for line in life.world.log.lines] == ["folders that may not be read"]


async def test_a_folder_that_is_a_file_fails(inbox: Path) -> None:
    inbox.rmdir()
    inbox.write_text("no folder")
    with pytest.raises(FreshetError, match="is no folder, but a file"):
        await World().tick(sensor(inbox))


async def test_a_name_that_is_no_text_and_its_written_form_are_two_files(inbox: Path) -> None:
    world, each = World(), sensor(inbox, partitions=None, on={"created", "modified", "deleted"}, settle="0s")
    other = inbox / os.fsdecode(b"a\xff.csv")
    other.write_text("of no text")
    put(inbox, r"a\xff.csv")
    for _ in range(4):
        await world.tick(each)
    commits = world.commits
    await world.tick(each)
    assert (len(world.runs), len(world.log.lines), world.commits - commits) == (1, 1, 1)
    other.unlink()
    await world.tick(each)
    assert (len(world.runs), set(world.entries)) == (1, {r"a\xff.csv"})
    (inbox / r"a\xff.csv").unlink()
    await world.tick(each)
    assert [run.tags["change"] for run in world.runs] == ["created", "deleted"]


@pytest.mark.parametrize("name", [b"a\xff.csv", b"a\nb.csv", b"x" * 201 + b".csv"])
async def test_a_file_without_a_possible_key_is_reported_once_and_blocks_nobody(inbox: Path, name: bytes) -> None:
    world, each = World(), sensor(inbox)
    put(inbox, os.fsdecode(name))
    put(inbox, "good.csv")
    await world.tick(each)
    await world.tick(each)
    await world.tick(sensor(inbox))
    assert world.files_run == ["good.csv"]
    assert [line[1] for line in world.log.lines] == ["file passed over"]
    put(inbox, os.fsdecode(name), "changed")
    await world.tick(each)
    assert len(world.log.lines) == 2
    (inbox / os.fsdecode(name)).unlink()
    await world.tick(each)
    assert set(world.entries) == {"good.csv"}


async def test_a_decomposed_name_has_a_composed_key(inbox: Path) -> None:
    world = World()
    put(inbox, "cafe\u0301.csv")
    await world.tick(sensor(inbox))
    assert set(world.partitions) == {"caf\u00e9"}
    assert world.partitions["caf\u00e9"]["path"] == str(inbox / "cafe\u0301.csv")


async def test_a_look_that_hangs_is_not_joined_by_a_second(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, free, left = threading.Event(), threading.Event(), threading.Event()
    scandir = os.scandir

    def hang(path: str) -> Any:
        reached.set()
        free.wait(20)
        left.set()
        return scandir(path)

    world, each = World(), sensor(inbox)
    put(inbox, "a.csv")
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", hang)
        async with anyio.create_task_group() as group:
            group.start_soon(world.tick, each)
            while not reached.is_set():
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()
        with pytest.raises(RetryLater, match="has not returned"):
            await world.tick(each)
        free.set()
        assert left.wait(20)
    with anyio.fail_after(20):
        while not world.runs:
            try:
                await world.tick(each)
            except RetryLater:
                await anyio.sleep(0.001)
    assert world.files_run == ["a.csv"]
