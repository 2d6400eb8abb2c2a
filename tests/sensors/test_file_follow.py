"""`follow=True`: links lead on, each real file counts once, and no ring of links is walked twice."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sensors.living import land, living
from tests.sensors.support import World, put, sensor

from freshet_sensors.links import Followed, scan_following
from freshet_sensors.pattern import Pattern

pytestmark = pytest.mark.anyio
DEEP = "**/{name}.csv"


async def test_links_to_files_and_folders_outside_are_followed(inbox: Path) -> None:
    outside = inbox.parent / "outside"
    put(outside, "deep/a.csv")
    put(outside, "b.csv")
    (inbox / "folder").symlink_to(outside / "deep")
    (inbox / "one.csv").symlink_to(outside / "b.csv")
    world, calm = World(), World()
    await world.tick(sensor(inbox, pattern=DEEP, follow=True))
    await calm.tick(sensor(inbox, pattern=DEEP))
    assert sorted(world.files_run) == ["folder/a.csv", "one.csv"]
    assert world.partitions["a"]["path"] == str(inbox / "folder/a.csv")
    assert calm.files_run == []
    put(outside, "b.csv", "changed")
    await world.tick(sensor(inbox, pattern=DEEP, follow=True))
    assert world.files_run.count("one.csv") == 2, "a change of the target is a change"


async def test_each_real_file_counts_once_by_its_plain_path_or_the_first_link(inbox: Path) -> None:
    put(inbox, "z/plain.csv")
    put(inbox.parent, "outside/sub/a.csv")
    (inbox / "a-link.csv").symlink_to("z/plain.csv")
    (inbox / "a-folder").symlink_to("z")
    (inbox / "l2").symlink_to(inbox.parent / "outside/sub")
    (inbox / "l1").symlink_to(inbox.parent / "outside")
    (inbox / "l0.csv").symlink_to(inbox.parent / "outside/sub/a.csv")
    (inbox / "ring").symlink_to(".")
    (inbox / "z/up").symlink_to("..")
    (inbox.parent / "outside/back").symlink_to(inbox)
    world = World()
    await world.tick(sensor(inbox, pattern=DEEP, follow=True))
    assert sorted(world.files_run) == ["l1/sub/a.csv", "z/plain.csv"]


async def test_a_hard_link_is_a_file_of_its_own(inbox: Path) -> None:
    put(inbox, "a.csv")
    (inbox / "b.csv").hardlink_to(inbox / "a.csv")
    world = World()
    await world.tick(sensor(inbox, follow=True))
    assert sorted(world.files_run) == ["a.csv", "b.csv"]


async def test_links_that_lead_nowhere_are_told_once(inbox: Path) -> None:
    (inbox / "gone.csv").symlink_to(inbox.parent / "nothing")
    (inbox / "itself.csv").symlink_to("itself.csv")
    put(inbox, "good.csv")
    world, each = World(), sensor(inbox, follow=True)
    for _ in range(3):
        await world.tick(each)
    assert world.files_run == ["good.csv"]
    (inbox / "more.csv").symlink_to("none")
    await world.tick(each)
    assert [(level, fields["reason"]) for level, _, fields in world.log.lines] == [
        ("warning", "gone.csv, itself.csv"),
        ("warning", "more.csv"),
    ]
    for name in ("gone", "itself", "more"):
        (inbox / f"{name}.csv").unlink()
    await world.tick(each)
    assert world.log.lines[2:] == [
        ("info", "over: links that lead nowhere", {"folder": str(inbox), "reason": "gone.csv, itself.csv, more.csv"})
    ]


async def test_what_lies_behind_a_broken_link_is_not_deleted_until_the_link_is(inbox: Path) -> None:
    outside = inbox.parent / "outside"
    put(outside, "a.csv")
    (inbox / "share").symlink_to(outside)
    put(inbox, "share2.csv")
    world, each = World(), sensor(inbox, pattern=DEEP, follow=True, retire=True, settle="0s")
    await world.tick(each)
    outside.rename(inbox.parent / "away")
    (inbox / "share2.csv").unlink()
    await world.tick(each)
    assert set(world.partitions) == {"a"}
    (inbox / "share").unlink()
    await world.tick(each)
    assert world.partitions == {}


async def test_a_key_that_a_linked_file_still_has_is_not_retired(inbox: Path) -> None:
    put(inbox, "a.csv")
    put(inbox.parent, "outside/a.csv")
    (inbox / "share").symlink_to(inbox.parent / "outside")
    world, each = World(), sensor(inbox, pattern=DEEP, follow=True, retire=True, settle="0s")
    await world.tick(each)
    (inbox / "a.csv").unlink()
    await world.tick(each, ["a.csv"])
    assert set(world.partitions) == {"a"}


async def test_a_link_to_a_network_file_system_is_told_and_its_times_not_trusted(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def far(path: str) -> bool:
        return path.endswith("/share")

    monkeypatch.setattr("freshet_sensors.links.is_network", far)
    put(inbox.parent, "outside/a.csv")
    (inbox / "share").symlink_to(inbox.parent / "outside")
    world, each = World(), sensor(inbox, pattern=DEEP, follow=True)
    await world.tick(each)
    assert world.runs == [], "another machine's clock says nothing: two looks have to agree"
    assert [(line[1], line[2]["reason"]) for line in world.log.lines] == [
        ("links to network file systems, looked at each interval", "share")
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
async def test_what_links_lead_to_is_watched(inbox: Path) -> None:
    outside = inbox.parent / "outside"
    (outside / "deep").mkdir(parents=True)
    (inbox / "early").symlink_to(outside)
    (outside / "back").symlink_to(inbox)
    async with living(inbox, settle="0s", pattern=DEEP, follow=True) as life:
        land(outside / "deep/a.csv")
        await life.until(lambda: life.world.files_run == ["early/deep/a.csv"])
        (inbox.parent / "second").mkdir()
        land(inbox.parent / "second/b.csv")
        (inbox / "late").symlink_to(inbox.parent / "second")
        await life.until(lambda: life.world.files_run[1:] == ["late/b.csv"])
        land(inbox.parent / "second/c.csv")
        await life.until(lambda: life.world.files_run[2:] == ["late/c.csv"])
        land(inbox / "plain.csv")
        await life.until(lambda: life.world.files_run[3:] == ["plain.csv"])
        (inbox / "late").unlink()
        await life.until(lambda: "late/c.csv" not in life.world.entries)
        (inbox / "late").symlink_to(inbox.parent / "second")
        land(inbox.parent / "second/d.csv")
        await life.until(lambda: life.world.files_run[-1] == "late/d.csv")


async def test_a_linked_folder_that_is_moved_away_and_made_again_is_watched_again(inbox: Path) -> None:
    outside = inbox.parent / "outside"
    outside.mkdir()
    (inbox / "share").symlink_to(outside)
    async with living(inbox, settle="0s", pattern=DEEP, follow=True) as life:
        outside.rename(inbox.parent / "away")
        await life.until(lambda: "links that lead nowhere" in [line[1] for line in life.world.log.lines])
        land(inbox.parent / "away/not.csv")
        outside.mkdir()
        land(outside / "a.csv")
        await life.look()
        assert life.world.files_run == ["share/a.csv"]


# --- against what the file system itself says ------------------------------------------------------------------

PLACES = ["in", "in/a", "in/a/b", "out", "out/c", "out/c/d"]
made = st.lists(
    st.tuples(
        st.sampled_from(["file", "link"]), st.sampled_from(PLACES), st.sampled_from("xyz"), st.sampled_from(PLACES)
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(made)
def test_every_reachable_real_file_is_found_once(
    tmp_path_factory: pytest.TempPathFactory, program: list[tuple[str, str, str, str]]
) -> None:
    top = tmp_path_factory.mktemp("links").resolve()
    for place in PLACES:
        (top / place).mkdir(parents=True, exist_ok=True)
    for kind, place, name, to in program:
        path = top / place / name
        if os.path.lexists(path):
            continue
        if kind == "file":
            path.write_text(name)
        else:
            path.symlink_to(top / to)
    found = [file.path for file in scan_following(str(top / "in"), Pattern("**/*"), Followed())]
    real = [os.path.realpath(top / "in" / path) for path in found]
    assert len(set(real)) == len(real)
    assert set(real) == _reachable(str(top / "in"))
    inside = f"{top}/in/"
    for name, target in zip(found, real, strict=True):
        if target.startswith(inside):
            assert target == inside + name, "the plain path comes first"


def _reachable(root: str) -> set[str]:
    """All real files below, by a walk that marks real folders."""
    files: set[str] = set()
    marked: set[str] = set()
    waiting = [Path(root).resolve()]
    while waiting:
        folder = waiting.pop()
        if str(folder) in marked:
            continue
        marked.add(str(folder))
        for entry in folder.iterdir():
            real = Path(os.path.realpath(entry))  # of links in a ring too
            if real.is_dir():
                waiting.append(real)
            elif real.is_file():
                files.add(str(real))
    return files


async def test_ten_rings_of_links_do_not_multiply(inbox: Path) -> None:
    for number in range(10):
        put(inbox.parent, f"chain/{number}/f{number}.csv")
        for twin in ("p", "q"):
            (inbox.parent / f"chain/{number}/{twin}").symlink_to(inbox.parent / f"chain/{(number + 1) % 10}")
    (inbox / "chain").symlink_to(inbox.parent / "chain/0")
    world = World()
    with anyio.fail_after(10):
        await world.tick(sensor(inbox, pattern=DEEP, follow=True))
    assert len(world.files_run) == 10
