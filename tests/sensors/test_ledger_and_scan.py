"""Whatever happens to a folder, in whatever order, with whatever is lost: each version that a look meets runs once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sensors.support import Killed, World

from freshet import DynamicPartitions
from freshet_sensors import FileSensor, recall

NAMES = ["a.csv", "b.csv", "c.csv", "sub/d.csv", "sub/deep/e.csv"]
names = st.sampled_from(NAMES)
Step = tuple[str, list[str]]


def step(word: str, *what: st.SearchStrategy[str]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(word), st.tuples(*what).map(list))


steps: st.SearchStrategy[Step] = st.one_of(
    step("write", names),
    step("delete", names),
    step("rename", names, names),
    st.tuples(st.just("hinted"), st.lists(names | st.sampled_from(["sub/", "gone.csv"]), max_size=3)),
    step("full"),
    step("lost"),
    step("restart"),
)


class Folder:
    """A folder whose every write has a time of its own, and the versions that a committed look has met."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = 1_000_000_000
        self.world = World()
        self.met: set[str] = set()
        self.restart()

    def restart(self) -> None:
        """A new evaluator: nothing of the sensor's memory is left."""
        self.world.notes.clear()
        self.sensor = FileSensor(
            "landing",
            path=str(self.root),
            pattern="**/{b}.csv",
            partitions=DynamicPartitions("b"),
            target="raw",
            settle="1s",
        )

    def write(self, name: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.clock += 1
        path.write_text(str(self.clock))
        os.utime(path, (self.clock, self.clock))

    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def rename(self, name: str, to: str) -> None:
        if (self.root / name).exists() and name != to:
            (self.root / to).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).rename(self.root / to)

    def there(self) -> set[str]:
        """The run keys of what is there."""
        found: set[str] = set()
        for path in self.root.rglob("*.csv"):
            stat = path.stat()
            found.add(f"{path.relative_to(self.root)}@{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}")
        return found

    async def look(self, hints: list[str] | None, *, lost: bool = False) -> None:
        try:
            await self.world.tick(self.sensor, hints, kill_after=0 if lost else None)
        except Killed:
            return
        seen = self.there()
        if hints is not None:
            seen = {key for key in seen if any(_covers(hint, key) for hint in hints)}
        self.met |= seen


def _covers(hint: str, key: str) -> bool:
    path = key.rpartition("@")[0]
    return path.startswith(hint) if hint.endswith("/") else path == hint


@pytest.fixture(autouse=True, scope="module")
def small_folders_are_recalled() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall, "_WORTH", 1)
        yield


async def play(program: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Folder(Path(root))
        await folder.look(None)
        for word, what in program:
            match word:
                case "full":
                    await folder.look(None)
                case "lost":
                    await folder.look(None, lost=True)
                case "hinted":
                    await folder.look(what)
                case "restart":
                    folder.restart()
                case "write":
                    folder.write(*what)
                case "delete":
                    folder.delete(*what)
                case "rename":
                    folder.rename(*what)
                case _:
                    raise AssertionError(word)
        await folder.look(None)
        # A file that was renamed and renamed back is asked for under a key that is taken: the store drops that.
        assert set(folder.world.run_keys) == folder.met
        assert {key.rpartition("@")[0] for key in folder.there()} == set(folder.world.entries)
        for key in folder.there():
            path, _, version = key.rpartition("@")
            assert folder.world.entries[path] == version
        if not any(word == "rename" for word, _ in program):
            assert len(folder.world.run_keys) == len(folder.met), "each version once"


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=20))
def test_each_version_that_a_look_meets_runs_once(program: list[Step]) -> None:
    anyio.run(play, program)
