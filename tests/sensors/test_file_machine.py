"""Any order of events in a real folder under a real watch, in virtual time, against a model of what must come of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.sensors.support import Killed, World, sensor

from freshet import DeletePartitions, RunRequest
from freshet_sensors import recall

if sys.platform != "linux":
    pytest.skip("inotify is Linux's", allow_module_level=True)

SETTLE = 2.0
names = st.sampled_from(["a.csv", "b.csv", "sub/a.csv", "sub/deep/b.csv", "other/c.csv"])
folders = st.sampled_from(["sub", "sub/deep", "other"])
Version = tuple[int, int, int]
_T = TypeVar("_T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time stands still unless `now` is moved; what goes aside is done in line."""

    now = 1_000_000_000.0

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Executor | None, func: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:  # type: ignore[override]
        future: asyncio.Future[_T] = self.create_future()
        try:
            future.set_result(func(*args))
        except BaseException as error:
            future.set_exception(error)
        return future

    def do(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run it, and what has become ready by now."""
        done = self.run_until_complete(work)
        self.run_until_complete(_turns())
        return done


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Landing(RuleBasedStateMachine):
    """The folder, the sensor, and the model: what stands where, what was admitted, what has been absent since."""

    @initialize(retire=st.booleans())
    def begin(self, retire: bool) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="landing-"))
        self.inbox, self.outside = self.top / "inbox", self.top / "outside"
        self.inbox.mkdir()
        self.outside.mkdir()
        self.loop = VirtualLoop()
        self.world = World()
        self.retire = retire
        self.pieces = 0
        self.open: dict[str, TextIO] = {}
        self.moved_in: set[tuple[str, int]] = set()
        """Paths and inodes that were renamed into place, and not written to and closed since."""
        self.wrong = False
        self.taken: dict[str, Version] = {}
        self.start()

    def start(self) -> None:
        self.sensor = sensor(self.inbox, pattern="**/{name}.csv", settle=f"{SETTLE}s", retire=self.retire)
        self.hints: set[str] | None = None
        self.waiting = True
        self.waking = self.loop.create_task(self.wake())
        self.pump()

    async def wake(self) -> None:
        async for hints in self.sensor.wakes():
            self.hints = (
                None if hints is None or (self.waiting and self.hints is None) else (self.hints or set()) | {*hints}
            )
            self.waiting = True

    def pump(self) -> None:
        self.loop.run_until_complete(_turns())
        for path in self.taken.keys() - self.there().keys():
            del self.taken[path]

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            if not self.wrong:
                self.quiet()
                self.look_at_all(lost=False)
                self.quiet()
        finally:
            self.end()
            for file in self.open.values():
                file.close()
            self.loop.close()
            shutil.rmtree(self.top)

    def end(self) -> None:
        self.waking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self.waking)

    # --- what the world does -----------------------------------------------------------------------------------

    @rule(name=names, close=st.booleans())
    def write_a_piece(self, name: str, close: bool) -> None:
        file = self.open.pop(name, None)
        if file is None:
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            file = self.path(name).open("a")
        self.pieces += 1
        file.write("row\n" * self.pieces)
        file.flush()
        os.utime(file.fileno(), (self.loop.now, self.loop.now))
        if close:
            file.close()
            self.moved_in.discard((name, self.path(name).stat().st_ino) if self.path(name).exists() else (name, 0))
        else:
            self.open[name] = file
        self.pump()

    @rule(name=names)
    def replace_in_one_step(self, name: str) -> None:
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        draft = self.path(name).with_name("draft.tmp")
        self.fill(draft, self.loop.now)
        self.rename(draft, name)

    @rule(name=names, age=st.sampled_from([0.0, 1.0, 3600.0]))
    def move_in(self, name: str, age: float) -> None:
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.fill(self.outside / "draft", self.loop.now - age)
        self.rename(self.outside / "draft", name)

    @rule(name=names, to=names)
    def move_within(self, name: str, to: str) -> None:
        if self.path(name).exists() and name != to:
            self.path(to).parent.mkdir(parents=True, exist_ok=True)
            self.rename(self.path(name), to)

    @rule(name=names)
    def move_out_and_keep(self, name: str) -> None:
        if self.path(name).exists():
            self.path(name).rename(self.outside / name.replace("/", "-"))
            self.pump()

    @rule(name=names)
    def move_back(self, name: str) -> None:
        kept = self.outside / name.replace("/", "-")
        if kept.exists():
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            self.rename(kept, name)

    @rule(name=names)
    def delete(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)
        self.pump()

    @rule(folder=folders)
    def delete_folder(self, folder: str) -> None:
        shutil.rmtree(self.path(folder), ignore_errors=True)
        self.pump()

    @rule(folder=folders)
    def move_a_folder_out(self, folder: str) -> None:
        if self.path(folder).exists():
            self.path(folder).rename(self.outside / f"folder-{self.pieces}-{self.loop.now}")
            self.pieces += 1
            self.pump()

    @rule(folder=folders)
    def move_a_full_folder_in(self, folder: str) -> None:
        if not self.path(folder).exists():
            full = self.outside / "full"
            (full / "deep").mkdir(parents=True)
            for name in ("a.csv", "deep/b.csv"):
                self.fill(full / name, self.loop.now)
            self.path(folder).parent.mkdir(parents=True, exist_ok=True)
            full.rename(self.path(folder))
            self.pump()

    @rule(seconds=st.sampled_from([0.5, 1.9, 2.1, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.loop.now += seconds
        self.pump()

    # --- what the daemon does ----------------------------------------------------------------------------------

    @precondition(lambda self: self.waiting)
    @rule(lost=st.booleans())
    def answer_the_wake(self, lost: bool) -> None:
        self.look(self.hints, lost=lost)

    @rule(lost=st.booleans())
    def look_at_all(self, lost: bool) -> None:
        self.look(None, lost=lost)

    @rule()
    def restart(self) -> None:
        self.end()
        self.world.notes.clear()
        self.start()

    def look(self, hints: set[str] | None, *, lost: bool) -> None:
        self.waiting, self.hints = False, set()
        now = datetime.fromtimestamp(self.loop.now, UTC)
        before = self.there()
        try:
            said = self.loop.do(self.world.tick(self.sensor, hints, now=now, kill_after=0 if lost else None))
        except Killed:
            # As the daemon does: after a look that failed the next one is full.
            self.waiting, self.hints = True, None
            return
        for one in said:
            if isinstance(one, DeletePartitions):
                assert not {*one.keys} & {Path(path).stem for path in before}, "a key that a file has was retired"
            if isinstance(one, RunRequest):
                path, _, text = str(one.run_key).partition("#")[0].rpartition("@")
                self.admitted(path, tuple(map(int, text.split(":"))), before)  # type: ignore[arg-type]
        self.pump()

    def admitted(self, path: str, version: Version, there: dict[str, Version]) -> None:
        self.wrong = True
        assert there[path] == version
        assert self.taken.get(path) != version, "the same version twice"
        stood_still = self.loop.now - version[1] / 1e9 >= SETTLE - 1e-6
        assert stood_still or (path, version[2]) in self.moved_in, "taken before it stood still"
        self.moved_in.discard((path, version[2]))
        self.taken[path] = version
        self.wrong = False

    # --- what must hold ----------------------------------------------------------------------------------------

    @invariant()
    def the_ledger_holds_what_was_taken(self) -> None:
        if hasattr(self, "taken"):
            kept = {path: f"{size}:{mtime}:{inode}" for path, (size, mtime, inode) in self.taken.items()}
            assert kept.items() <= self.world.entries.items()

    @rule()
    def quiet(self) -> None:
        """Nothing happens for a while: the wakes alone bring everything in; of files still open, the full look does."""
        for turn in range(6):
            self.loop.now += SETTLE + 0.1
            self.pump()
            if self.open and turn == 0:
                self.look(None, lost=False)
            while self.waiting:
                self.look(self.hints, lost=False)
        there = self.there()
        # One that went and came back between two looks is the one that was taken before it went.
        kept = {path: self.world.entries.get(path) for path in there}
        meant = {path: f"{size}:{mtime}:{inode}" for path, (size, mtime, inode) in there.items()}
        assert kept == meant, "each version that stands still is taken"
        assert self.taken.items() <= there.items()
        if self.retire:
            assert set(self.world.entries) == set(there)
            assert set(self.world.partitions) == {Path(path).stem for path in there}
        else:
            assert len({*self.world.run_keys}) >= len(there)

    # --- its hands ---------------------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        return self.inbox / name

    def fill(self, path: Path, at: float) -> None:
        self.pieces += 1
        path.write_text("row\n" * self.pieces)
        os.utime(path, (at, at))

    def rename(self, path: Path, to: str) -> None:
        path.rename(self.path(to))
        self.moved_in.add((to, self.path(to).stat().st_ino))
        self.pump()

    def there(self) -> dict[str, Version]:
        found: dict[str, Version] = {}
        for path in self.inbox.rglob("*.csv"):
            stat = path.stat()
            found[str(path.relative_to(self.inbox))] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        return found


@pytest.fixture(autouse=True, scope="module")
def small_folders_are_recalled() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall, "_WORTH", 1)
        yield


TestLanding = Landing.TestCase
TestLanding.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_what_stands_where_a_renamed_file_has_gone_must_settle() -> None:
    """Renamed into place, deleted before anybody looked, and made again by other means: that may be half-written."""
    state = Landing()
    state.begin(retire=False)
    for _ in range(2):  # the folder is watched from the first on
        state.replace_in_one_step(name="sub/a.csv")
    state.delete_folder(folder="sub")
    state.move_a_full_folder_in(folder="sub")
    state.answer_the_wake(lost=False)
    assert state.world.runs == []
    state.teardown()
    assert sorted(state.world.files_run) == ["sub/a.csv", "sub/deep/b.csv"]
