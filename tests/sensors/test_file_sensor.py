"""The file sensor's looks: real folders, no waiting; time is what the test says."""

from __future__ import annotations

import os
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.sensors.support import BATCHES, NOW, OLD, Killed, World, put, sensor

from freshet import AddPartitions, DefinitionError, RunRequest, StaticPartitions, asset
from freshet.host.evaluator.ledger import LedgerCache, TickLedger
from freshet_sensors import FileSensor
from freshet_sensors.look import Folder, look_at_all

pytestmark = pytest.mark.anyio


async def test_a_file_becomes_a_partition_and_a_run(inbox: Path) -> None:
    world, path = World(), put(inbox, "orders.csv", "some text")
    said = await world.tick(sensor(inbox))
    stat = path.stat()
    assert said == [
        AddPartitions(BATCHES, {"orders": {"path": str(path), "size": 9, "mtime": stat.st_mtime_ns / 1e9}}),
        RunRequest("raw", partition="orders", run_key=f"orders.csv@9:{stat.st_mtime_ns}:{stat.st_ino}"),
    ]
    assert await world.tick(sensor(inbox)) == []


async def test_a_relative_folder_is_made_absolute(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(inbox.parent)
    world = World()
    put(inbox, "a.csv")
    await world.tick(FileSensor("landing", path="inbox", pattern="{b}.csv", partitions=BATCHES))
    assert world.partitions["a"]["path"] == str(inbox / "a.csv")
    assert world.runs == []


async def test_the_oldest_comes_first(inbox: Path) -> None:
    for day, name in enumerate(["c", "a", "b"]):
        put(inbox, f"{name}.csv", at=OLD + timedelta(minutes=day))
    world = World()
    await world.tick(sensor(inbox))
    assert world.files_run == ["c.csv", "a.csv", "b.csv"]


async def test_a_modified_file_runs_again_and_a_created_only_sensor_stays_calm(inbox: Path) -> None:
    world, calm = World(), World()
    put(inbox, "a.csv")
    for each, on in ((world, ("created", "modified")), (calm, ("created",))):
        await each.tick(sensor(inbox, on=on))
    put(inbox, "a.csv", "longer")
    for each, on in ((world, ("created", "modified")), (calm, ("created",))):
        await each.tick(sensor(inbox, on=on))
        await each.tick(sensor(inbox, on=on))
    assert len(world.runs) == 2
    assert world.partitions["a"]["size"] == 6
    assert len(calm.runs) == 1


async def test_only_modifications_if_only_those_are_asked_for(inbox: Path) -> None:
    world = World()
    put(inbox, "a.csv")
    assert await world.tick(sensor(inbox, on=("modified",))) == []
    put(inbox, "a.csv", "longer")
    await world.tick(sensor(inbox, on="modified"))
    assert world.files_run == ["a.csv"]


async def test_a_file_that_came_back_is_created_again(inbox: Path) -> None:
    world, each = World(), sensor(inbox, on=("created",))
    put(inbox, "a.csv").unlink()
    put(inbox, "a.csv")
    await world.tick(each)
    (inbox / "a.csv").unlink()
    await world.tick(each, ["a.csv"])
    assert world.entries == {}
    put(inbox, "a.csv", "new")
    await world.tick(each)
    assert len(world.runs) == 2
    assert "a" in world.partitions


# --- hints ---------------------------------------------------------------------------------------------------


async def test_hints_look_at_those_paths_alone(inbox: Path) -> None:
    world, each = World(), sensor(inbox, pattern="**/{b}.csv")
    await world.tick(each)
    put(inbox, "a.csv")
    put(inbox, "b.csv")
    put(inbox, "sub/c.csv")
    put(inbox, "sub/deep/d.csv")
    await world.tick(each, ["a.csv", "gone.csv", "../x.csv", "/etc/passwd"])
    assert world.files_run == ["a.csv"]
    await world.tick(each, ["sub/", "none/", "../"])
    assert sorted(world.files_run[1:]) == ["sub/c.csv", "sub/deep/d.csv"]
    await world.tick(each)
    assert world.files_run[3:] == ["b.csv"]


async def test_the_first_look_is_full_whatever_the_hints(inbox: Path) -> None:
    world = World()
    put(inbox, "a.csv")
    put(inbox, "b.csv")
    await world.tick(sensor(inbox), ["a.csv"])
    assert sorted(world.files_run) == ["a.csv", "b.csv"]


async def test_many_hints_are_looked_at_aside(inbox: Path) -> None:
    world, each = World(), sensor(inbox)
    await world.tick(each)
    names = [f"{number:03}.csv" for number in range(100)]
    for name in names:
        put(inbox, name)
    await world.tick(each, names)
    assert sorted(world.files_run) == names


# --- start ---------------------------------------------------------------------------------------------------


async def test_start_now_takes_what_is_there_for_seen(inbox: Path) -> None:
    world, each = World(), sensor(inbox, start="now")
    put(inbox, "old.csv")
    put(inbox, "arriving.csv")
    await world.tick(each, ["arriving.csv"])
    assert world.files_run == ["arriving.csv"], "what the watch has seen arrive is news"
    put(inbox, "new.csv")
    put(inbox, "old.csv", "changed")
    await world.tick(sensor(inbox, start="now"))
    assert sorted(world.files_run[1:]) == ["new.csv", "old.csv"]


async def test_another_folder_under_the_same_name_is_looked_at_anew(inbox: Path) -> None:
    world = World()
    other = inbox.parent / "other"
    put(inbox, "a.csv")
    put(other, "b.csv")
    await world.tick(sensor(inbox, retire=True))
    await world.tick(sensor(other, retire=True), ["nothing.csv"])
    assert world.files_run == ["a.csv", "b.csv"]
    assert set(world.partitions) == {"a", "b"}, "the old folder's files are not deleted, they are out of sight"
    assert set(world.entries) == {"b.csv"}


# --- settle --------------------------------------------------------------------------------------------------


async def test_a_file_is_taken_once_it_has_stood_still(inbox: Path) -> None:
    world, each = World(), sensor(inbox, settle="2s")
    put(inbox, "a.csv", at=NOW - timedelta(seconds=1))
    assert await world.tick(each, now=NOW) == []
    put(inbox, "a.csv", "grown", at=NOW + timedelta(seconds=0.5))
    assert await world.tick(each, now=NOW + timedelta(seconds=1)) == []
    assert await world.tick(each, ["a.csv"], now=NOW + timedelta(seconds=2)) == []
    await world.tick(each, ["a.csv"], now=NOW + timedelta(seconds=2.5))
    assert world.partitions["a"]["size"] == 5


async def test_a_time_in_the_future_starves_nothing(inbox: Path) -> None:
    world, each = World(), sensor(inbox, settle="2s")
    put(inbox, "a.csv", at=NOW + timedelta(days=365))
    assert await world.tick(each) == []
    assert await world.tick(each, ["a.csv"], now=NOW + timedelta(seconds=1)) == []
    await world.tick(each, ["a.csv"], now=NOW + timedelta(seconds=2))
    assert world.files_run == ["a.csv"]


async def test_without_settle_a_file_is_taken_at_once(inbox: Path) -> None:
    world = World()
    put(inbox, "a.csv", at=NOW)
    await world.tick(sensor(inbox, settle="0s"))
    assert world.files_run == ["a.csv"]


# --- deletions -----------------------------------------------------------------------------------------------


async def test_a_deletion_does_nothing_to_the_partition_unless_it_retires(inbox: Path) -> None:
    for options, left in (({}, {"a"}), ({"on": ("created", "deleted")}, {"a"}), ({"retire": True}, set[str]())):
        world, each = World(), sensor(inbox, settle="0s", **options)
        put(inbox, "a.csv")
        await world.tick(each)
        (inbox / "a.csv").unlink()
        await world.tick(each)
        assert set(world.partitions) == left
        assert world.entries == {}
        assert len(world.runs) == 1


async def test_what_was_retired_and_came_back_unchanged_runs_again(inbox: Path) -> None:
    world, each = World(), sensor(inbox, settle="0s", retire=True)
    path = put(inbox, "a.csv")
    await world.tick(each)
    away = path.rename(inbox.parent / "away.csv")
    await world.tick(each, ["a.csv"])
    assert world.partitions == {}
    away.rename(path)
    await world.tick(each, ["a.csv"])
    assert set(world.partitions) == {"a"}
    assert len(set(world.run_keys)) == 2, "the first run's key is taken for ever"


async def test_a_key_that_another_file_still_has_is_not_retired(inbox: Path) -> None:
    world = World()
    each = sensor(inbox, pattern="{day}/{name}.csv", key="{day}", settle="0s", retire=True)
    put(inbox, "mon/a.csv")
    put(inbox, "mon/b.csv")
    await world.tick(each)
    (inbox / "mon/a.csv").unlink()
    await world.tick(each, ["mon/a.csv"])
    assert set(world.partitions) == {"mon"}
    (inbox / "mon/b.csv").unlink()
    await world.tick(each)
    assert world.partitions == {}


async def test_a_deletion_that_retires_has_to_stand_still_too(inbox: Path) -> None:
    world, each = World(), sensor(inbox, settle="2s", retire=True)
    put(inbox, "a.csv")
    await world.tick(each)
    (inbox / "a.csv").unlink()
    await world.tick(each, ["a.csv"])
    put(inbox, "a.csv", "back")
    await world.tick(each, ["a.csv"], now=NOW + timedelta(seconds=3))
    assert set(world.partitions) == {"a"}
    (inbox / "a.csv").unlink()
    await world.tick(each, ["a.csv"], now=NOW + timedelta(seconds=4))
    await world.tick(each, ["a.csv"], now=NOW + timedelta(seconds=6))
    assert world.partitions == {}


async def test_without_partitions_each_change_is_a_run_with_tags(inbox: Path) -> None:
    world = World()
    each = sensor(inbox, partitions=None, settle="0s", on=("created", "modified", "deleted"))
    put(inbox, "a.csv")
    await world.tick(each)
    put(inbox, "a.csv", "longer")
    await world.tick(each)
    (inbox / "a.csv").unlink()
    await world.tick(each)
    assert [dict(run.tags) for run in world.runs] == [
        {"file": "a.csv", "change": change} for change in ("created", "modified", "deleted")
    ]
    assert [run.partition for run in world.runs] == [None] * 3


# --- dry runs and pieces ---------------------------------------------------------------------------------------


async def test_a_dry_run_shows_and_leaves_no_trace(inbox: Path) -> None:
    world, each = World(), sensor(inbox, settle="2s")
    put(inbox, "old.csv")
    put(inbox, "young.csv", at=NOW)
    said = await world.tick(each, dry_run=True)
    assert [one.partition for one in said if isinstance(one, RunRequest)] == ["old"]
    assert (world.entries, world.cursor) == ({}, None)
    assert await world.tick(each, now=NOW + timedelta(seconds=1)) == said
    assert "young" not in world.partitions


async def test_a_large_look_commits_in_pieces_that_each_stand_alone(inbox: Path) -> None:
    for number in range(1200):
        put(inbox, f"{number:04}.csv")
    world = World()
    with pytest.raises(Killed):
        await world.tick(sensor(inbox), kill_after=2)
    assert (world.commits, len(world.runs), len(world.entries), len(world.partitions)) == (2, 500, 500, 500)
    await world.tick(sensor(inbox))
    assert len(world.runs) == 1200
    assert len(set(world.run_keys)) == 1200


async def test_twenty_thousand_files_in_one_look(inbox: Path) -> None:
    for number in range(20_000):
        os.close(os.open(inbox / f"{number}.csv", os.O_CREAT | os.O_WRONLY))
    world = World()
    await world.tick(sensor(inbox, settle="0s"))
    assert len(set(world.run_keys)) == len(world.runs) == 20_000
    assert world.commits == 80
    assert await world.tick(sensor(inbox, settle="0s")) == []


@pytest.mark.slow
async def test_a_hundred_thousand_files_in_small_pieces_and_little_memory(inbox: Path) -> None:
    for number in range(100_000):
        os.close(os.open(inbox / f"{number}.csv", os.O_CREAT | os.O_WRONLY))
    world, each = World(), sensor(inbox, settle="0s")
    await world.tick(each)
    assert len(set(world.run_keys)) == len(world.runs) == 100_000
    assert world.commits == 400, "250 a commit"
    ledger = LedgerCache(keep_texts=True)
    counted = TickLedger(ledger, ledger.texts_of)
    for path, version in world.entries.items():
        counted.add(path, version)
    folder = Folder(str(inbox), each.rules.pattern)
    tracemalloc.start()
    try:
        assert look_at_all(folder, counted).fresh == []
        following = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        assert len(look_at_all(folder, TickLedger(LedgerCache(), ledger.texts_of)).fresh) == 100_000
        first = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert following < 4 * 2**20, "a look at what is known keeps two numbers for each file"
    assert first < 50 * 2**20, "some hundred bytes for each new file"


def len_of(path: str) -> int:
    return len(path)


# --- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"on": ("created", "moved")}, "on='moved' is no change"),
        ({"on": ()}, "on= is empty"),
        ({"start": "later"}, "start='later' is unknown"),
        ({"settle": "soon"}, "settle: 'soon' is not a duration"),
        ({"partitions": None, "target": None}, "neither partitions nor target"),
        ({"partitions": None, "retire": True}, "are about partitions"),
        ({"partitions": None, "key": "{batch}"}, "are about partitions"),
        ({"pattern": "{a}{b}"}, "landing: pattern"),
        ({"key": "{no}"}, "landing: key"),
        ({"interval": "0s"}, "too short"),
        ({"partitions": "batches"}, "landing: partitions takes DynamicPartitions, not 'batches'"),
        ({"partitions": StaticPartitions(["a"], name="letters")}, "landing: partitions takes DynamicPartitions"),
        ({"partitions": None, "target": asset(name="raw", partitions=BATCHES)(len_of)}, "'raw' is partitioned"),
    ],
)
async def test_what_makes_no_sense_is_refused(inbox: Path, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason) as caught:
        sensor(inbox, **options)
    assert caught.value.hint


async def test_it_describes_itself(inbox: Path) -> None:
    spec = sensor(inbox, retire=True).spec
    assert (spec.type, spec.target, spec.partitions, spec.wakes) == ("FileSensor", "raw", "batches", True)
    assert spec.options["on"] == ["created", "deleted", "modified"]
    assert spec.options["settle"] == 0.25
    assert spec.doc.startswith("Watches a folder")
