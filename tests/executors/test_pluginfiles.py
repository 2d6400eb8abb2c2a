"""Who may write plugins, as the user sees it that the daemon runs as: one who is not root."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.unprivileged import NOBODY, as_nobody, his_folder

ROOT = os.geteuid() == 0
OTHER = 4321
LOOK = """
import json, os
from pathlib import Path
from freshet.executors.pluginfiles import read_plugins
assert os.geteuid() != 0
found = read_plugins(Path("plugins").absolute())
told = [[[one.message, one.hint, Path(one.file).name] for one in kind] for kind in (found.problems, found.warnings)]
print(json.dumps(told))
"""


def looked(mode: int, owner: int, group: int, *, of_folder: bool = False) -> tuple[list[Any], list[Any]]:
    """Problems and warnings of one plugin with this mode, owner and group, or of its folder."""
    with his_folder() as folder:
        plugin = folder / "plugins" / "orders.py"
        plugin.parent.mkdir()
        plugin.write_text("")
        for path in (plugin.parent, plugin):
            path.chmod(0o755 if path.is_dir() else 0o644)
            if ROOT:
                os.chown(path, NOBODY, NOBODY)
        changed = plugin.parent if of_folder else plugin
        if ROOT:
            os.chown(changed, owner, group)
        changed.chmod(mode)
        env = {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "PATH": os.defpath}
        done = as_nobody([sys.executable, "-c", LOOK], env=env, cwd=folder)
        assert done.returncode == 0, done.stderr
        problems, warnings = json.loads(done.stdout)
        return problems, warnings


@pytest.mark.parametrize("of_folder", [False, True])
def test_what_everybody_may_write_is_refused(of_folder: bool) -> None:
    problems, warnings = looked(0o777, NOBODY, NOBODY, of_folder=of_folder)
    ((message, hint, name),) = problems
    assert "everybody may write here" in message and hint.startswith("chmod o-w /")
    assert name == ("plugins" if of_folder else "orders.py")
    assert warnings == []


def test_his_own_and_roots_are_well() -> None:
    assert looked(0o644, NOBODY, NOBODY) == ([], [])
    assert looked(0o664, NOBODY, NOBODY) == ([], []), "his own group"
    assert looked(0o664, 0, 0) == ([], [])


@pytest.mark.skipif(not ROOT, reason="only root gives files away")
@pytest.mark.parametrize("of_folder", [False, True])
def test_what_is_somebody_elses_is_told_and_loaded(of_folder: bool) -> None:
    problems, warnings = looked(0o755, OTHER, NOBODY, of_folder=of_folder)
    assert problems == []
    ((message, hint, _),) = warnings
    assert f"belongs to user {OTHER}" in message and hint.startswith(f"chown {NOBODY} /")


@pytest.mark.skipif(not ROOT, reason="only root gives files away")
def test_what_another_group_may_write_is_told_and_loaded() -> None:
    problems, warnings = looked(0o664, NOBODY, OTHER)
    assert problems == []
    ((message, hint, _),) = warnings
    assert f"the group {OTHER} may write here" in message and hint.startswith("chmod g-w /")
    assert Path(hint.removeprefix("chmod g-w ")).name == "orders.py"
