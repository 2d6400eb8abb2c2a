"""Values through the public door: what is written is read, each attempt for itself, damage is told."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from freshet.definitions.names import key_filename
from freshet.errors import PartitionKeyError, ValueFormatError
from freshet.io import ValueRef, files, read_value, write_value


def keep(values: Path, value: Any, *, key: str | None = None, attempt: int = 1, io: str | None = None) -> ValueRef:
    return write_value(value, values_dir=values, asset="sales", partition_key=key, run_id=7, attempt=attempt, io=io)


@pytest.fixture
def values(tmp_path: Path) -> Path:
    return tmp_path / "values"


@pytest.mark.parametrize(
    ("value", "io", "back"),
    [
        (MappingProxyType({"path": "a", "at": MappingProxyType({"n": 1})}), "json", {"path": "a", "at": {"n": 1}}),
        ([MappingProxyType({"path": "a"})], "json", [{"path": "a"}]),
        ((MappingProxyType({"path": "a"}), 1), "pickle", ({"path": "a"}, 1)),
        (MappingProxyType({1: "a"}), "pickle", {1: "a"}),
    ],
)
def test_a_view_of_a_dict_is_kept_as_the_dict_that_it_shows(values: Path, value: Any, io: str, back: Any) -> None:
    ref = keep(values, value)
    found = read_value(values, ref)
    assert (ref.io, found) == (io, back)
    assert repr(found) == repr(back), "dicts, all the way down"


@pytest.mark.parametrize(
    ("value", "io"),
    [
        ([{"a": 1, "b": 2.5, "c": None}], "json"),
        ("text", "text"),
        (1, "json"),
        (-0.0, "json"),
        ((1, 2), "pickle"),
        ([float("inf")], "pickle"),
        ({1, 2}, "pickle"),
        (b"raw", "bytes"),
        (2**70, "pickle"),
    ],
)
def test_the_manager_is_chosen_by_the_value(values: Path, value: Any, io: str) -> None:
    ref = keep(values, value)
    assert ref.io == io
    assert ref.path == f"sales/@/7-1.{io}"
    back = read_value(values, ref)
    assert back == value
    assert type(back) is type(value)


def test_a_named_manager_is_obeyed(values: Path) -> None:
    assert keep(values, [1], io="pickle").io == "pickle"
    with pytest.raises(ValueFormatError, match=r"\$\[3\]\.amount: NaN"):
        keep(values, [{}, {}, {}, {"amount": float("nan")}], io="json")
    with pytest.raises(ValueFormatError) as caught:
        keep(values, 1, io="jason")
    assert "json" in caught.value.hint
    assert not (values / "sales/@/7-1.json").exists()


def test_what_cannot_be_pickled_is_told(values: Path) -> None:
    with pytest.raises(ValueFormatError, match=r"of type [Ll]ock cannot be pickled"):
        keep(values, threading.Lock())


@pytest.mark.parametrize("key", ["2026-11-20", "a/b", "@", "blank blank", "größe", "%41", "é" * 200, "=" * 150])
def test_any_key_has_a_folder_of_its_own(values: Path, key: str) -> None:
    ref = keep(values, key, key=key)
    assert read_value(values, ref) == key
    assert ref.path == f"sales/{key_filename(key)}/7-1.text"
    assert ref.path.count("/") == 2
    sidecar = values / Path(ref.path).parent / "key"
    assert sidecar.exists() == (len(key) >= 150)
    if sidecar.exists():
        assert sidecar.read_text("utf-8") == key


@pytest.mark.parametrize("key", ["..", ".", "", "a\nb"])
def test_a_key_that_no_set_may_hold_makes_no_folder(values: Path, key: str) -> None:
    with pytest.raises(PartitionKeyError):
        keep(values, 1, key=key)
    assert not values.exists()


def test_each_attempt_writes_its_own_name(values: Path) -> None:
    first, second = keep(values, "good"), keep(values, "later", attempt=2)
    assert first.path != second.path
    assert (read_value(values, first), read_value(values, second)) == ("good", "later")


def test_damage_is_told(values: Path) -> None:
    ref = keep(values, ["some", "rows"])
    path = values / ref.path
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    with pytest.raises(ValueFormatError, match=f"has {ref.size - 1} bytes; {ref.size} were written"):
        read_value(values, ref)
    path.write_bytes(good.replace(b"rows", b"ROWS"))
    with pytest.raises(ValueFormatError, match="damaged"):
        read_value(values, ref)
    path.unlink()
    with pytest.raises(ValueFormatError, match="is gone"):
        read_value(values, ref)


class Moved:
    """Pickled by name; the test takes the name away."""


def test_a_pickle_whose_class_is_gone_is_told(values: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Moved.__module__])
    ref = keep(values, Moved())
    monkeypatch.delattr(sys.modules[Moved.__module__], "Moved")
    with pytest.raises(ValueFormatError, match="cannot be read back: AttributeError"):
        read_value(values, ref)


def test_a_full_disk_leaves_the_last_value_and_no_scrap(values: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = keep(values, "good")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_flush_data", full)
    with pytest.raises(OSError, match="No space"):
        keep(values, "never", attempt=2)
    assert os.listdir(values / "sales/@") == ["7-1.text"]  # noqa: PTH208
    assert read_value(values, ref) == "good"


def test_files_are_flushed_before_they_get_their_name_and_folders_after(
    values: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of flushes and renames, as the kernel is asked for them."""
    done: list[str] = []

    def name(descriptor: int) -> str:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        return "value" if path.name.startswith(".7") else str(path.relative_to(values.parent))

    def told(word: str, call: Any) -> Any:
        def ask(descriptor: int) -> None:
            call(descriptor)
            done.append(f"{word} {name(descriptor)}")

        return ask

    rename = os.rename

    def renamed(source: str, target: str) -> None:
        done.append("rename")
        rename(source, target)

    monkeypatch.setattr(files, "_flush_data", told("data", os.fdatasync))
    monkeypatch.setattr(os, "fsync", told("folder", os.fsync))
    monkeypatch.setattr(os, "rename", renamed)
    keep(values, 1)
    first = ["data value", "rename", "folder values/sales/@"]
    assert done == ["folder .", "folder values", "folder values/sales", *first]
    done.clear()
    keep(values, 1, attempt=2)
    assert done == first


def test_a_folder_found_empty_is_flushed_by_its_finder(values: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made it may have been killed before it was durable."""
    (values / "sales/@").mkdir(parents=True)
    done: list[str] = []
    fsync = os.fsync

    def told(descriptor: int) -> None:
        done.append(str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(values)))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", told)
    keep(values, 1)
    assert done == ["sales", "sales/@"]


def test_two_processes_may_write_into_one_new_folder(values: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from freshet.io import write_value\n"
        "for run in range(int(sys.argv[2]), int(sys.argv[2]) + 20):\n"
        "    write_value(run, values_dir=Path(sys.argv[1]), asset=f'a{run % 100}', partition_key='k',"
        " run_id=run, attempt=1, io=None)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(values), start]) for start in ("100", "200")]
    assert [process.wait(30) for process in both] == [0, 0]
    assert len(list(values.glob("*/*/*.json"))) == 40


def test_importing_it_is_cheap() -> None:
    """Workers are forked from a process that holds it: nothing heavy comes along."""
    code = (
        "import sys; before = set(sys.modules); import freshet.io.registry\n"
        "heavy = {'asyncio', 'sqlite3', 'pydantic', 'aiosqlite', 'anyio', 'httpx'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
