from __future__ import annotations

from pathlib import Path

from freshet.host.sources import Sources


def files(root: Path, **contents: str) -> Sources:
    for name, text in contents.items():
        path = root / f"{name.replace('__', '/').replace('/init/', '/__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Sources.read(root)


def test_what_is_a_plugin(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.py").write_text("")
    (tmp_path / ".#lock.py").write_text("")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "__init__.py").write_text("")
    sources = files(tmp_path, b="", a="", kit__init__="", kit__parts="", lib__helper="")
    assert list(sources.plugins.items()) == [("a", "a.py"), ("b", "b.py"), ("kit", "kit/__init__.py")]
    assert sources.locate("kit.parts") == ("kit/parts.py", None)
    assert sources.locate("kit") == ("kit/__init__.py", "kit")
    assert sources.locate("lib") == (None, "lib")
    assert sources.locate("lib.helper") == ("lib/helper.py", None)
    assert sources.locate("nowhere") == (None, None)


def test_a_missing_folder_holds_nothing(tmp_path: Path) -> None:
    assert Sources.read(tmp_path / "absent").plugins == {}


def test_the_version_tells_contents_and_names_apart(tmp_path: Path) -> None:
    first = files(tmp_path, a="x", b="y").version
    assert Sources.read(tmp_path).version == first
    (tmp_path / "b.py").rename(tmp_path / "c.py")
    renamed = Sources.read(tmp_path).version
    (tmp_path / "c.py").write_text("z")
    assert len({first, renamed, Sources.read(tmp_path).version}) == 3


def test_an_unreadable_file_is_kept_in_mind(tmp_path: Path) -> None:
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    sources = Sources.read(tmp_path)
    assert sources.plugins == {"gone": "gone.py"}
    assert sources.unreadable == {"gone.py": "No such file or directory"}


def test_it_survives_the_way_to_another_process(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n")
    sources = Sources.read(tmp_path)
    restored = Sources.restore(sources.dump())
    assert (restored.files, restored.root, restored.version) == (sources.files, tmp_path, sources.version)
