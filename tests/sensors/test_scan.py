"""What counts as a file of the folder."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest
from tests.sensors.support import DictLedger

from freshet_sensors.look import Folder, look_at_all
from freshet_sensors.pattern import Pattern
from freshet_sensors.scan import probe, readable, scan

DEEP = Pattern("**/*")


def found(root: Path, pattern: Pattern = DEEP) -> set[str]:
    """The scan's paths; `probe` has to agree on each."""
    paths = {file.path for file in scan(str(root), pattern)}
    for path in paths:
        assert probe(str(root), path, pattern) in set(scan(str(root), pattern))
    return paths


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def test_unfinished_names_are_passed_over_at_any_depth(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "b.csv.part", ".c.csv", "sub/d", "sub.tmp/e", ".git/f", "sub/g~")
    assert found(tmp_path) == {"a.csv", "sub/d"}
    for path in ("b.csv.part", ".c.csv", "sub.tmp/e", ".git/f", "../x", "/etc/passwd", "sub/../a.csv"):
        assert probe(str(tmp_path), path, DEEP) is None


def test_what_is_no_regular_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert found(tmp_path) == set()
    assert probe(str(tmp_path), "pipe", DEEP) is None
    assert probe(str(tmp_path), "folder", DEEP) is None


def test_only_folders_that_can_match_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "2026/a.csv", "2025/b.csv", "2026/deep/c.csv")
    read: list[str] = []
    scandir = os.scandir

    def told(path: Any) -> Any:
        read.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", told)
    assert {file.path for file in scan(str(tmp_path), Pattern("2026/{x}.csv"))} == {"2026/a.csv"}
    assert len(read) == 2


def test_links_count_where_they_stay_inside(tmp_path: Path) -> None:
    root, outside = tmp_path / "inbox", tmp_path / "outside"
    put(root, "real", "sub/x")
    put(outside, "secret", "y")
    (root / "to-real").symlink_to("real")
    (root / "to-secret").symlink_to(outside / "secret")
    (root / "to-outside").symlink_to(outside)
    (root / "to-sub").symlink_to("sub")
    (root / "to-itself").symlink_to("to-itself")
    (root / "to-nothing").symlink_to("nothing")
    (tmp_path / "inbox-2").mkdir()
    put(tmp_path / "inbox-2", "z")
    (root / "to-neighbour").symlink_to(tmp_path / "inbox-2" / "z")
    assert found(root) == {"real", "sub/x", "to-real"}
    for path in ("to-outside/y", "to-sub/x", "to-secret", "to-neighbour", "to-itself"):
        assert probe(str(root), path, DEEP) is None
    target = probe(str(root), "to-real", DEEP)
    assert target is not None
    assert target.inode == (root / "real").stat().st_ino


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    put(tmp_path / "real", "a", "sub/b")
    (tmp_path / "inbox").symlink_to("real")
    (tmp_path / "real" / "link").symlink_to("a")
    assert found(tmp_path / "inbox") == {"a", "sub/b", "link"}


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a", "closed/b", "open/c")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("/closed/"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    unreadable: list[str] = []
    assert {file.path for file in scan(str(tmp_path), DEEP, unreadable=unreadable)} == {"a", "open/c"}
    assert unreadable == ["closed/"]


def test_a_missing_folder_is_an_error_and_a_vanished_one_below_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError):
        list(scan(str(tmp_path / "none"), DEEP))
    put(tmp_path, "a", "gone/b")
    scandir = os.scandir

    def vanish(path: str) -> Any:
        if path.endswith("/gone/"):
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanish)
    assert found(tmp_path) == {"a"}


def test_a_version_tells_contents_apart(tmp_path: Path) -> None:
    put(tmp_path, "a")
    versions = {next(scan(str(tmp_path), DEEP)).version}
    os.utime(tmp_path / "a", ns=(1, 1))
    versions.add(next(scan(str(tmp_path), DEEP)).version)
    (tmp_path / "a").write_text("longer")
    os.utime(tmp_path / "a", ns=(1, 1))
    versions.add(next(scan(str(tmp_path), DEEP)).version)
    (tmp_path / "b").write_text("longer")
    os.utime(tmp_path / "b", ns=(1, 1))
    (tmp_path / "b").rename(tmp_path / "a")
    versions.add(next(scan(str(tmp_path), DEEP)).version)
    assert len(versions) == 4


def test_names_that_are_no_text_can_be_shown() -> None:
    assert readable("a\udcff") == "a\\xff"
    assert readable("größe") == "größe"


def test_what_a_look_keeps_of_a_file_is_nothing_to_the_garbage_collector(tmp_path: Path) -> None:
    """Else a folder of a million files stops the process for the length of a full collection, again and again."""
    put(tmp_path, "a", "b")
    rows = look_at_all(Folder(str(tmp_path), DEEP), DictLedger({})).fresh
    gc.collect()
    assert [row[0] for row in rows] == ["a", "b"]
    assert not any(map(gc.is_tracked, rows))
