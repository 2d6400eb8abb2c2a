"""What a full look recalls: never more than the ledger holds, whatever happened to it and to the folder meanwhile."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sensors.support import DictLedger

from freshet_sensors import recall
from freshet_sensors.look import Folder, LookEnded, Survey, look_at, look_at_all
from freshet_sensors.pattern import Pattern
from freshet_sensors.scan import File, readable

MEANT = Pattern("**/{name}.csv")


@pytest.fixture(autouse=True, scope="module")
def small_folders_are_recalled() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall, "_WORTH", 1)
        patch.setattr(recall, "_NEAR", 2)
        patch.setattr(recall, "_FAR", 3)
        patch.setattr(recall, "_BREATH", 10)
        yield


class Asked(DictLedger):
    """Counts what it is asked."""

    asked = 0

    def seen(self, key: str, version: str = "") -> bool:
        self.asked += 1
        return super().seen(key, version)


def put(folder: Path, name: str, content: str = "") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)


def take(ledger: DictLedger, survey: Survey) -> list[str]:
    for path in survey.gone:
        ledger.remove(path)
    for row in survey.fresh:
        ledger.add(readable(row[0]), File(*row).version)
    return [row[0] for row in survey.fresh]


def look(folder: Path, ledger: DictLedger) -> list[str]:
    return take(ledger, look_at_all(Folder(str(folder), MEANT), ledger))


def filled(folder: Path, count: int = 30) -> Asked:
    for number in range(count):
        put(folder, f"{number}.csv")
        put(folder, f"deep/{number}.csv")
        put(folder, f"{number}.txt")
    ledger = Asked({})
    assert len(look(folder, ledger)) == 2 * count
    assert look(folder, ledger) == []
    ledger.asked = 0
    return ledger


def test_what_stands_as_it_stood_is_not_asked_again(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    survey = look_at_all(Folder(str(tmp_path), MEANT), ledger)
    assert (survey.fresh, survey.gone, survey.files) == ([], [], 60)
    assert ledger.asked == 0


def _size(path: Path) -> None:
    put(path.parent, path.name, "more")


def _time(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def _inode(path: Path) -> None:
    old = path.stat()
    (path.parent / "new").write_text("")
    (path.parent / "new").rename(path)
    os.utime(path, ns=(old.st_mtime_ns, old.st_mtime_ns))


@pytest.mark.parametrize("change", [_size, _time, _inode])
def test_a_file_that_changed_in_anything_is_fresh(tmp_path: Path, change: Callable[[Path], None]) -> None:
    ledger = filled(tmp_path)
    change(tmp_path / "deep" / "7.csv")
    assert look(tmp_path, ledger) == ["deep/7.csv"]
    assert look(tmp_path, ledger) == []


def test_a_link_in_the_place_of_a_file_is_its_target(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    (tmp_path / "3.csv").unlink()
    (tmp_path / "3.csv").symlink_to("4.csv")
    assert look(tmp_path, ledger) == ["3.csv"]
    assert look(tmp_path, ledger) == []
    put(tmp_path, "4.csv", "more")
    assert sorted(look(tmp_path, ledger)) == ["3.csv", "4.csv"]


def test_only_what_came_and_went_is_asked_for(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 300)
    for number in range(100, 110):
        (tmp_path / f"{number}.csv").unlink()
        put(tmp_path, f"new-{number}.csv")
    assert len(look(tmp_path, ledger)) == 10
    assert ledger.asked < 100
    assert look(tmp_path, ledger) == []


def test_what_a_hinted_look_took_is_doubted(tmp_path: Path) -> None:
    """A file that goes by a hint and comes back as it was, unseen, is there again."""
    ledger = filled(tmp_path)
    (tmp_path / "7.csv").rename(tmp_path / "7.kept")
    assert take(ledger, look_at(Folder(str(tmp_path), MEANT), ["7.csv"], ledger)) == []
    (tmp_path / "7.kept").rename(tmp_path / "7.csv")
    assert look(tmp_path, ledger) == ["7.csv"]


def test_a_look_concludes_nothing_from_what_was_doubted_meanwhile(tmp_path: Path) -> None:
    """A hinted look takes what has gone while a full look that hangs has met it already."""
    ledger = filled(tmp_path)
    folder = Folder(str(tmp_path), MEANT)
    with os.scandir(tmp_path) as entries:
        first = next(Path(entry) for entry in entries if entry.name.endswith(".csv"))
    kept = first.with_suffix(".kept")

    def meanwhile() -> bool:
        if first.exists():
            first.rename(kept)
            take(ledger, look_at(folder, [first.name], ledger))
        return False

    assert not look_at_all(folder, ledger, ended=meanwhile).fresh
    kept.rename(first)
    assert look(tmp_path, ledger) == [first.name]


def test_a_look_that_nobody_waits_for_ends_among_what_it_knows(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    with pytest.raises(LookEnded):
        look_at_all(Folder(str(tmp_path), MEANT), ledger, ended=lambda: True)


def test_another_pattern_begins_anew(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    survey = look_at_all(Folder(str(tmp_path), Pattern("deep/*.csv")), ledger)
    assert (survey.files, len(survey.gone)) == (30, 30)


NAMES = [f"{number}.csv" for number in range(12)] + [f"sub/{number}.csv" for number in range(4)]
steps = st.one_of(
    st.tuples(st.sampled_from(["write", "hide", "show", "hint"]), st.sets(st.sampled_from(NAMES), min_size=1)),
    st.tuples(st.just("look"), st.just(frozenset[str]())),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=25))
def test_it_finds_what_a_look_without_memory_finds(program: list[tuple[str, set[str]]]) -> None:
    with tempfile.TemporaryDirectory() as top:
        root, hidden, clock = Path(top) / "inbox", Path(top) / "hidden", 10**18
        for name in NAMES:
            put(root, name)
            put(hidden, name)
            (hidden / name).unlink()
        ledger, folder = DictLedger({}), Folder(str(root), MEANT)
        for word, names in [*program, ("look", set[str]())]:
            for name in names:
                if word == "write":
                    clock += 1
                    put(root, name)
                    os.utime(root / name, ns=(clock, clock))
                elif word == "hide" and (root / name).exists():
                    (root / name).rename(hidden / name)
                elif word == "show" and (hidden / name).exists():
                    (hidden / name).rename(root / name)
            if word == "hint":
                take(ledger, look_at(folder, names, ledger))
            elif word == "look":
                fair = look_at_all(folder, DictLedger(dict(ledger.entries)))
                survey = look_at_all(folder, ledger)
                assert (survey.fresh, sorted(survey.gone), survey.files) == (fair.fresh, sorted(fair.gone), fair.files)
                take(ledger, survey)
