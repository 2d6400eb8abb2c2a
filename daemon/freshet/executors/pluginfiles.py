"""The files of plugins, as the daemon sees them: it reads them, and runs nothing of them.

Who may write them may do whatever the daemon may. So a file or folder that everybody may write is not loaded; one that
belongs to somebody else, or that a group may write, is told.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from freshet.definitions.tables import Tables
from freshet.errors import SettingsError
from freshet.executors.base import LoadProblem
from freshet.host.sources import Sources

__all__ = ["PluginFiles", "read_plugins"]


@dataclass(frozen=True, slots=True)
class PluginFiles:
    """`version`: of the definitions that a host would load of them. `digests`: of each file, by its path. `problems`:
    why they must not be loaded; `warnings`: what else is wrong with who may write them."""

    version: str
    digests: Mapping[str, str] = field(default_factory=dict[str, str])
    problems: tuple[LoadProblem, ...] = ()
    warnings: tuple[LoadProblem, ...] = ()


def read_plugins(folder: Path, tables: Callable[[], Tables] = Tables) -> PluginFiles:
    """What lies there now, with what the configuration says to plugins. Blocks."""
    wrong: list[LoadProblem] = []
    try:
        sources = Sources.read(folder, tables())
    except SettingsError as error:
        sources = Sources.read(folder)
        wrong.append(LoadProblem(error.message, error.hint))
    digests = {
        sources.path(name): hashlib.blake2b(text, digest_size=8).hexdigest() for name, text in sources.files.items()
    }
    names = {*sources.files, *sources.unreadable}
    paths = {folder, *(Path(sources.path(name)) for name in names)}
    paths |= {parent for path in paths for parent in path.parents if parent.is_relative_to(folder)}
    told = [one for path in sorted(paths) for one in _told(path)]
    return PluginFiles(
        "" if wrong else sources.version,
        digests,
        (*wrong, *(problem for problem, refused in told if refused)),
        tuple(problem for problem, refused in told if not refused),
    )


def _told(path: Path) -> Iterator[tuple[LoadProblem, bool]]:
    """What is wrong with who may write at a path, and whether it must not be loaded for that."""
    try:
        found = path.stat()
    except OSError:
        return  # it is gone, or cannot be read: others say so
    if found.st_mode & stat.S_IWOTH:
        hint = f"chmod o-w {path}"
        yield LoadProblem("everybody may write here, and so run what they like as the daemon", hint, str(path)), True
    elif found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid()):
        hint = f"chmod g-w {path}"
        yield LoadProblem(f"the group {found.st_gid} may write here, and so run as the daemon", hint, str(path)), False
    if found.st_uid not in (0, os.geteuid()):
        hint = f"chown {os.geteuid()} {path}"
        yield LoadProblem(f"it belongs to user {found.st_uid}, who may so run as the daemon", hint, str(path)), False
