"""Where a file sensor looks: deep patterns, versions, and watched folders that come, go, and come back."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from tests.sensors.living import land, living, state
from tests.sensors.support import OLD, World, put, sensor

from freshet_sensors import wake

pytestmark = pytest.mark.anyio
linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
DEEP = "**/{name}.csv"


# --- patterns and versions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "key", "meant"),
    [
        ("**/{name}.csv", None, {"a", "b", "c"}),
        ("{region}/{date}/*.parquet", None, {"eu-mon", "us-tue"}),
        ("{region}/**/{file}.parquet", "{region}/{file}", {"eu/p1", "eu/p2", "us/p3"}),
    ],
)
async def test_recursive_patterns(inbox: Path, pattern: str, key: str | None, meant: set[str]) -> None:
    for name in ("a.csv", "eu/b.csv", "eu/mon/c.csv", "eu/mon/p1.parquet", "eu/mon/p2.parquet", "us/tue/p3.parquet"):
        put(inbox, name)
    put(inbox, "eu/mon/p4.parquet.part")
    world = World()
    await world.tick(sensor(inbox, pattern=pattern, key=key))
    assert set(world.partitions) == meant


async def test_each_way_to_change_a_file_is_one_new_version(inbox: Path) -> None:
    """In place, by an atomic replacement, to the same content, and by a mere touch: each is admitted, once."""
    world, each = World(), sensor(inbox)
    path = put(inbox, "a.csv", "one")
    await world.tick(each)
    put(inbox, "a.csv", "two", at=OLD + timedelta(seconds=1))
    await world.tick(each)
    before = path.stat()
    (inbox / "a.csv.tmp").write_text("two")
    os.utime(inbox / "a.csv.tmp", ns=(before.st_mtime_ns, before.st_mtime_ns))
    (inbox / "a.csv.tmp").rename(path)
    await world.tick(each)
    assert path.stat().st_ino != before.st_ino
    os.utime(path, (OLD.timestamp() + 2, OLD.timestamp() + 2))
    await world.tick(each)
    assert len(set(world.run_keys)) == len(world.runs) == 4
    path.chmod(0o600)
    path.read_text()
    assert await world.tick(each) == [], "reading it, and its rights, are no change"


async def test_a_rename_is_a_deletion_and_an_arrival(inbox: Path) -> None:
    world, each = World(), sensor(inbox, settle="0s", retire=True)
    put(inbox, "a.csv").rename(inbox / "b.csv")
    await world.tick(each)
    (inbox / "b.csv").rename(inbox / "c.csv")
    await world.tick(each)
    assert (world.files_run, set(world.partitions), set(world.entries)) == (["b.csv", "c.csv"], {"c"}, {"c.csv"})


# --- folders that appear -------------------------------------------------------------------------------------------


@linux
async def test_a_deep_tree_that_is_made_and_filled_at_once_is_seen_whole(inbox: Path) -> None:
    """Made without a pause, so that most folders are filled before they can be watched."""
    async with living(inbox, settle="0s", pattern=DEEP) as life:
        for tree in range(10):
            folder = inbox / f"t{tree}" / "/".join("abcdefgh")
            folder.mkdir(parents=True)
            for depth, above in enumerate(folder.parents):
                if above == inbox:
                    break
                land(above / f"{tree}-{depth}.csv")
            land(folder / f"{tree}-last.csv")
        await life.until(lambda: len(life.world.runs) == 90)
        assert len(set(life.world.run_keys)) == 90
        land(inbox / "t9/a/b/c/d/e/f/g/h/later.csv")
        await life.until(lambda: len(life.world.runs) == 91)


@linux
async def test_a_deep_tree_that_is_moved_in_is_seen_whole_and_watched(inbox: Path) -> None:
    ready = inbox.parent / "ready"
    for number in range(50):
        put(ready, f"a/{number % 7}/b/{number}.csv")
    async with living(inbox, settle="0s", pattern=DEEP) as life:
        ready.rename(inbox / "batch")
        await life.until(lambda: len(life.world.runs) == 50)
        land(inbox / "batch/a/3/b/new.csv")
        await life.until(lambda: len(life.world.runs) == 51)
        assert len(set(life.world.run_keys)) == 51


# --- a watched folder that goes away ---------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("how", ["removed", "renamed away", "replaced"])
async def test_a_watched_folder_that_goes_is_told_polled_and_watched_again(
    inbox: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "_RETRY_MISSING", 0.01)
    away = inbox.parent / "away"
    async with living(inbox, settle="0s", retire=True) as life:
        if how != "removed":
            land(inbox / "a.csv")
            await life.until(lambda: life.world.files_run == ["a.csv"])
        inbox.rmdir() if how == "removed" else inbox.rename(away)
        if how != "replaced":
            await life.until(lambda: state(life) == "polling" and bool(life.world.skips))
            assert life.sensor.watching == f"polling: the folder {inbox} is not there"
            assert life.world.skips[-1] == f"the folder {inbox} is not there; it is watched for"
            assert set(life.world.partitions) == ({"a"} if away.exists() else set()), "a folder's going deletes nothing"
            if away.exists():
                land(away / "not-here.csv")
                away.rename(inbox)
        if not inbox.exists():
            inbox.mkdir()
        await life.until(lambda: state(life) == "watching")
        land(inbox / "b.csv")
        await life.until(lambda: "b.csv" in life.world.files_run)
        assert life.world.log.lines == []
        if how == "renamed away":
            assert sorted(life.world.files_run) == ["a.csv", "b.csv", "not-here.csv"], "a.csv once"


async def test_a_file_that_was_still_to_settle_is_not_gone_with_its_folder(inbox: Path) -> None:
    """A hint alone cannot tell a file that was deleted from a file system that is not mounted."""
    world, each = World(), sensor(inbox, settle="0s", retire=True)
    put(inbox, "a.csv")
    await world.tick(each)
    away = inbox.rename(inbox.parent / "away")
    await world.tick(each, ["a.csv"])
    assert set(world.partitions) == {"a"}
    inbox.mkdir()
    world.cursor = world.cursor | {"device": world.cursor["device"] + 1}
    await world.tick(each, ["a.csv"])
    await world.tick(each)
    assert set(world.partitions) == {"a"}, "an empty folder on another device is no deletion"
    inbox.rmdir()
    away.rename(inbox)
    await world.tick(each)
    assert (set(world.partitions), len(world.runs)) == ({"a"}, 1)


async def test_a_folder_that_is_replaced_during_a_look_is_looked_at_again(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, each = World(), sensor(inbox, settle="0s", retire=True)
    put(inbox, "a.csv")
    put(inbox, "b.csv")
    await world.tick(each)
    (inbox / "b.csv").unlink()
    scandir, looks = os.scandir, list[str]()

    def swap(path: str) -> object:
        looks.append(path)
        if len(looks) == 2:  # between the pass that meets what is there and the one that asks what has gone
            inbox.rename(inbox.parent / "away")
            inbox.mkdir()
        return scandir(path)

    from freshet import RetryLater

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", swap)
        with pytest.raises(RetryLater, match="was replaced while it was looked at"):
            await world.tick(each)
    assert set(world.partitions) == {"a", "b"}
    inbox.rmdir()
    (inbox.parent / "away").rename(inbox)
    await world.tick(each)
    assert set(world.partitions) == {"a"}


@linux
async def test_a_steady_trickle_holds_nothing_back(inbox: Path) -> None:
    """A file each 5 ms: each is taken on its own time, and not after the last."""
    late: list[float] = []
    async with living(inbox, settle="0s") as life:
        for number in range(100):
            began = anyio.current_time()
            land(inbox / f"{number}.csv")
            await life.until(lambda upto=number + 1: len(life.world.runs) >= upto)  # type: ignore[misc]
            late.append(anyio.current_time() - began)
    assert sorted(late)[50] < 0.4, "a median far below what a hundred would take, one after the other"
