"""The file sensor's wakes: real folders, the kernel's own events. Each wait is for a condition."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.sensors.living import land, living, state

from freshet_sensors import inotify, wake
from freshet_sensors.inotify import WatchLimit
from freshet_sensors.pattern import Pattern
from freshet_sensors.tree import TreeWatch
from freshet_sensors.watch import Watch

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")]
ROOT = Path(__file__).resolve().parents[2]


async def test_the_first_wake_is_full_and_comes_when_the_watch_is_set(inbox: Path) -> None:
    (inbox / "before.csv").write_text("x")
    async with living(inbox, settle="0s") as life:
        assert life.hints[0] is None
        await life.until(lambda: life.world.files_run == ["before.csv"])


async def test_a_rename_into_place_skips_settle(inbox: Path) -> None:
    async with living(inbox, settle="1h") as life:
        (inbox / "a.csv.part").write_text("x")
        (inbox / "a.csv.part").rename(inbox / "a.csv")
        await life.until(lambda: len(life.hints) == 2)
        assert (life.hints[1:], life.world.files_run) == ([{"a.csv"}], ["a.csv"])


async def test_a_written_file_waits_for_settle_and_wakes_once(inbox: Path) -> None:
    async with living(inbox, settle="150ms") as life:
        with (inbox / "a.csv").open("w") as file:
            for _ in range(5):
                file.write("row\n")
                file.flush()
                await anyio.sleep(0.01)
        closed = anyio.current_time()
        await life.until(lambda: life.world.files_run == ["a.csv"])
        assert anyio.current_time() - closed >= 0.14
        assert life.world.partitions["a"]["size"] == 20
        await life.until(lambda: len(life.hints) == 2)
        assert life.hints[1:] == [{"a.csv"}]


async def test_a_file_that_is_never_closed_is_taken_when_it_stands_still(inbox: Path) -> None:
    async with living(inbox, settle="50ms") as life:
        with (inbox / "a.csv").open("w") as file:
            file.write("row\n")
            file.flush()
            await life.until(lambda: life.world.files_run == ["a.csv"])


async def test_a_file_still_growing_is_not_taken(inbox: Path) -> None:
    async with living(inbox, settle="100ms") as life:
        with (inbox / "a.csv").open("w") as file:
            for _ in range(40):
                file.write("row\n")
                file.flush()
                await anyio.sleep(0.01)
                assert life.world.runs == []
        await life.until(lambda: life.world.files_run == ["a.csv"])
        assert life.world.partitions["a"]["size"] == 160


async def test_without_settle_a_file_is_taken_when_it_is_closed(inbox: Path) -> None:
    async with living(inbox, settle="0s") as life:
        with (inbox / "a.csv").open("w") as file:
            file.write("row\n")
            file.flush()
            (inbox / "mark.csv").write_text("")
            await life.until(lambda: life.world.files_run == ["mark.csv"])
        await life.until(lambda: life.world.files_run == ["mark.csv", "a.csv"])
        assert life.world.partitions["a"]["size"] == 4


async def test_a_hard_link_is_a_whole_file(inbox: Path) -> None:
    (inbox.parent / "elsewhere").write_text("x")
    async with living(inbox, settle="0s") as life:
        (inbox / "a.csv").hardlink_to(inbox.parent / "elsewhere")
        await life.until(lambda: life.world.files_run == ["a.csv"])


async def test_unfinished_and_unmeant_names_wake_nobody(inbox: Path) -> None:
    async with living(inbox, settle="0s") as life:
        for name in ("a.csv.part", ".b.csv", "c.txt", "d.csv~", os.fsdecode(b"e\xff.csv")):
            (inbox / name).write_text("x")
        (inbox / "last.csv").write_text("x")
        await life.until(lambda: len(life.hints) == 2)
        assert (life.hints[1:], life.world.files_run) == ([{"last.csv"}], ["last.csv"])


async def test_a_deletion_wakes_where_it_matters(inbox: Path) -> None:
    land(inbox / "a.csv")
    async with living(inbox, settle="0s", retire=True) as life:
        await life.until(lambda: "a" in life.world.partitions)
        (inbox / "a.csv").unlink()
        await life.until(lambda: life.world.partitions == {})


async def test_new_folders_are_watched_and_looked_into(inbox: Path) -> None:
    async with living(inbox, settle="0s", pattern="**/{name}.csv") as life:
        deep = inbox / "2026" / "11"
        deep.mkdir(parents=True)
        land(deep / "a.csv")
        await life.until(lambda: life.world.files_run == ["2026/11/a.csv"])
        land(deep / "b.csv")
        await life.until(lambda: life.world.files_run[1:] == ["2026/11/b.csv"])


async def test_a_full_folder_moved_in_is_looked_through(inbox: Path) -> None:
    ready = inbox.parent / "ready" / "sub"
    ready.mkdir(parents=True)
    land(ready / "a.csv")
    async with living(inbox, settle="0s", pattern="**/{name}.csv") as life:
        ready.parent.rename(inbox / "batch")
        await life.until(lambda: life.world.files_run == ["batch/sub/a.csv"])
        (inbox / "batch").rename(inbox / "other")
        await life.until(lambda: life.world.files_run[1:] == ["other/sub/a.csv"])
        land(inbox / "other/sub/b.csv")
        await life.until(lambda: life.world.files_run[2:] == ["other/sub/b.csv"])


async def test_many_new_folders_at_once_are_watched_by_a_new_watch(inbox: Path) -> None:
    ready = inbox.parent / "ready"
    for number in range(300):
        (ready / f"{number}").mkdir(parents=True)
    async with living(inbox, settle="0s", pattern="**/{name}.csv") as life:
        ready.rename(inbox / "batch")
        await life.until(lambda: life.hints.count(None) >= 2 and state(life) == "watching")
        land(inbox / "batch/299/a.csv")
        await life.until(lambda: life.world.files_run == ["batch/299/a.csv"])


async def test_a_folder_of_very_many_files_is_watched_by_a_new_watch(inbox: Path) -> None:
    ready = inbox.parent / "ready"
    ready.mkdir()
    for number in range(6_000):
        (ready / f"{number}.txt").touch()
    async with living(inbox, settle="0s", pattern="**/{name}.csv") as life:
        ready.rename(inbox / "batch")
        await life.until(lambda: life.hints.count(None) >= 2 and state(life) == "watching")
        land(inbox / "batch/a.csv")
        await life.until(lambda: life.world.files_run == ["batch/a.csv"])


async def test_a_folder_that_goes_and_comes_back_is_watched_again(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake, "_RETRY_MISSING", 0.01)
    async with living(inbox, settle="0s") as life:
        inbox.rmdir()
        await life.until(lambda: state(life) == "polling")
        inbox.mkdir()
        await life.until(lambda: state(life) == "watching")
        land(inbox / "a.csv")
        await life.until(lambda: life.world.files_run == ["a.csv"])


async def test_a_missing_folder_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake, "_RETRY_MISSING", 0.01)
    async with living(tmp_path / "later", settle="0s") as life:
        assert life.hints == []
        (tmp_path / "later").mkdir()
        await life.until(lambda: state(life) == "watching")
        land(tmp_path / "later" / "a.csv")
        await life.until(lambda: life.world.files_run == ["a.csv"])


async def test_a_folder_replaced_behind_its_name_is_found_by_the_full_look(inbox: Path) -> None:
    """Moving a folder above it tells its watch nothing."""
    outer = inbox.parent / "outer"
    (outer / "inbox").mkdir(parents=True)
    async with living(outer / "inbox", settle="0s") as life:
        outer.rename(inbox.parent / "moved")
        (outer / "inbox").mkdir(parents=True)
        await life.look()
        await life.until(lambda: life.hints.count(None) == 2)
        land(outer / "inbox" / "a.csv")
        await life.until(lambda: life.world.files_run == ["a.csv"])


async def test_an_overflow_asks_for_a_full_look(inbox: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 50_000:
        pytest.skip(f"it takes {limit} files")
    async with living(inbox, settle="0s") as life:
        for number in range(limit + 100):  # without a pause: nobody reads meanwhile
            os.close(os.open(inbox / f"{number}.csv", os.O_CREAT | os.O_WRONLY))
        await life.until(lambda: len(life.world.runs) >= limit + 100)
        assert None in life.hints[1:]
        assert len(set(life.world.run_keys)) == limit + 100


async def test_an_overflow_of_a_tree_sets_the_watch_anew(inbox: Path) -> None:
    watch = TreeWatch(str(inbox), Pattern("**/*"))
    watch.prepare()
    changes = watch.handle([inotify.Event(-1, inotify.OVERFLOW, "")])
    watch.close()
    assert (changes.full, changes.lost) == (True, True)


async def test_at_the_limit_of_watches_it_polls_and_says_which_setting(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(root: str, pattern: Pattern, follow: bool) -> Watch:
        raise WatchLimit("no more inotify watches: fs.inotify.max_user_watches is 5", hint="raise it")

    monkeypatch.setattr(wake, "_RETRY_LIMIT", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(wake, "make_watch", refuse)
        async with living(inbox, settle="0s") as life:
            assert state(life) == "polling"
            land(inbox / "a.csv")
            await life.look()
            assert life.world.files_run == ["a.csv"]
            assert [line[1] for line in life.world.log.lines] == ["polling, not watching"]
            assert "max_user_watches is 5" in life.world.log.lines[0][2]["reason"]
            patch.undo()
            await life.until(lambda: state(life) == "watching")
            land(inbox / "b.csv")
            await life.until(lambda: life.world.files_run == ["a.csv", "b.csv"])


@pytest.mark.parametrize("kind", ["watches", "instances"])
def test_the_kernel_s_own_limits_are_told_by_their_setting_and_it_watches_once_they_are_raised(
    inbox: Path, kind: str
) -> None:
    for number in range(6):
        (inbox / f"{number}").mkdir()
    if subprocess.run(["unshare", "-Ur", "true"], capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed here")
    command = ["unshare", "-Ur", sys.executable, "-m", "tests.sensors.limited", kind, str(inbox)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    limit, enough = {"watches": (3, 524_288), "instances": (0, 1_024)}[kind]
    setting = f"user.max_inotify_{kind}"
    assert told["said"] == [
        f"polling: no more inotify {kind}: {setting} is {limit}, for all programs of this user together"
        f" (raise it: sysctl {setting}={enough}; until then the folder is polled)",
        "watching",
    ]
    assert told["log"] == ["polling, not watching", "over: polling, not watching"]


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, "watches"), (errno.EMFILE, "instances")])
async def test_the_system_s_limits_are_told_with_their_present_value(
    inbox: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: str
) -> None:
    watch = inotify.Inotify()
    monkeypatch.setattr(ctypes, "get_errno", lambda: number)
    with pytest.raises(WatchLimit) as caught:
        watch.add(str(inbox / "none"))
    watch.close()
    present = int(Path(f"/proc/sys/fs/inotify/max_user_{kind}").read_text())
    assert f"fs.inotify.max_user_{kind} is {present}" in caught.value.message
    enough = int(caught.value.hint.partition(f"sysctl fs.inotify.max_user_{kind}=")[2].partition(";")[0])
    assert enough >= 2 * present


async def test_a_process_without_a_free_descriptor_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        with pytest.raises(WatchLimit, match=f"may open {lowest} files") as caught:
            inotify.Inotify()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert "LimitNOFILE" in caught.value.hint


async def test_a_network_file_system_is_polled(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def yes(path: str) -> bool:
        return True

    monkeypatch.setattr(wake, "is_network", yes)
    monkeypatch.setattr("freshet_sensors.look.is_network", yes)
    async with living(inbox, settle="50ms") as life:
        assert "network file system" in (life.sensor.watching or "")
        land(inbox / "a.csv")
        os.utime(inbox / "a.csv", (1, 1))
        await life.look()
        assert [line[1] for line in life.world.log.lines] == ["polling, not watching"]
        assert "network file system" in life.world.log.lines[0][2]["reason"]
        assert [one for one in life.world.notices if "network file system" in one and one.startswith("polling: ")]
        assert life.world.runs == [], "another machine's clock says nothing: two looks have to agree"
        await life.until(lambda: life.world.files_run == ["a.csv"])
        await life.until(lambda: life.hints == [{"a.csv"}])


async def test_nothing_is_left_open_when_it_ends(inbox: Path) -> None:
    def links() -> list[str]:
        found: list[str] = []
        for one in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):
                found.append(str(one.readlink()))
        return found

    before = sum("inotify" in link for link in links())
    async with living(inbox):
        assert sum("inotify" in link for link in links()) == before + 1
    assert sum("inotify" in link for link in links()) == before


async def test_idle_it_does_not_run_at_all(inbox: Path) -> None:
    import asyncio

    async with living(inbox) as life:
        land(inbox / "a.csv")
        await life.until(lambda: life.world.files_run == ["a.csv"])
        loop: Any = asyncio.get_running_loop()
        waiting = [handle for handle in loop._scheduled if not handle.cancelled() and "Waker" in repr(handle)]
        assert waiting == []
