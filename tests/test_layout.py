"""The rooms stay apart: imports run downward, files and functions stay small, nothing public goes undocumented."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DAEMON = ROOT / "daemon" / "freshet"
SENSORS = ROOT / "sensors" / "freshet_sensors"

# What each room may import of freshet, itself and errors aside. Later rooms stand on earlier ones.
ALLOWED: dict[str, set[str]] = {
    "definitions": set(),
    "io": {"definitions"},
    "host": {"io", "definitions", "masking", "secrets"},
    "store": {"definitions"},
    # The frame protocol is spoken on both sides.
    "executors": {
        "store",
        "definitions",
        "host.frames",
        "host.messages",
        "host.evaluator.messages",
        "host.evaluator.page",
        # What steps away from the code host are given: the plugins' texts, which nobody runs here; and are told.
        "host.boot",
        "host.orders",
        "host.sources",
        # And what comes back from another machine is written as a worker here would have written it.
        "host.remote",
        "io.files",
        "masking",
    },
    "engine": {"executors", "store", "definitions", "masking", "secrets"},
    "http": {"engine", "executors", "store", "definitions", "configuration"},
    "cli": {"http", "engine", "executors", "store", "definitions", "configuration", "configfile", "pluginconfig"},
    "testing": {"engine", "executors", "store", "host", "io", "definitions"},
}
# The top of the task tree puts the rooms together.
TREE_TOP = {
    "engine/resetting.py": {"configuration"},
    "engine/daemon.py": {"http.handed", "http.serve", "http.sockets", "configuration"},
    "engine/facade.py": {"__version__"},
}


def _sources() -> list[Path]:
    return sorted([*DAEMON.rglob("*.py"), *SENSORS.rglob("*.py")])


def _imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno


def _room(path: Path) -> str | None:
    parts = path.relative_to(DAEMON).parts
    return parts[0] if len(parts) > 1 else None


@pytest.mark.parametrize("path", [p for p in sorted(DAEMON.rglob("*.py")) if _room(p)], ids=str)
def test_imports_run_downward(path: Path) -> None:
    room = _room(path)
    assert room in ALLOWED, f"a new room: say in ALLOWED what {room!r} may import"
    name = path.relative_to(DAEMON).as_posix()
    allowed = ALLOWED[room] | {room, "errors"} | TREE_TOP.get(name, set())
    for module, line in _imports(ast.parse(path.read_text())):
        if not module.startswith("freshet.") or module.count(".") == 0:
            continue
        inner = module.removeprefix("freshet.")
        fits = any(inner == one or inner.startswith(one + ".") or one.startswith(inner + ".") for one in allowed)
        assert fits, f"{name}:{line} imports {module}, which lies above or beside its room"


@pytest.mark.parametrize("path", sorted(SENSORS.rglob("*.py")), ids=str)
def test_built_in_sensors_use_the_public_door(path: Path) -> None:
    import freshet

    for module, line in _imports(ast.parse(path.read_text())):
        package, _, name = module.partition(".")
        if package == "freshet":
            assert not name or name in freshet.__all__, f"{path.name}:{line} imports {module}, which is not public"


@pytest.mark.parametrize("path", _sources(), ids=str)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 470 if path.name == "records.py" else text.count("\n") <= 400, f"{path} is two things"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{path.name}: {node.name} is two functions"


@pytest.mark.parametrize("path", _sources(), ids=str)
def test_public_names_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) is not None or not tree.body, f"{path} does not say what it is for"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list):
                continue  # the implementation that follows has it
            assert ast.get_docstring(node) is not None, f"{path.name}: {node.name} has no docstring"


def test_one_package_a_root() -> None:
    rooms = {"daemon": {"freshet", "pytest_freshet.py"}, "sensors": {"freshet_sensors"}}
    for root, packages in rooms.items():
        found = {entry.name for entry in (ROOT / root).iterdir() if entry.name != "__pycache__"}
        assert found == packages, "what is not named in pyproject.toml imports here and is absent from the wheel"
