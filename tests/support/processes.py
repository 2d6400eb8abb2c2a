"""Processes as `/proc` shows them. A site's processes carry a mark in their environment, which all below inherit."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

__all__ = ["alive", "children", "command_line", "descendants", "kill", "marked", "zombies"]


def marked(mark: str) -> list[int]:
    """The living processes that began with `mark` (NAME=VALUE) in their environment; ended ones have none."""
    wanted = mark.encode()
    return sorted(pid for pid in _pids() if wanted in _read(pid, "environ").split(b"\0"))


def alive(pid: int) -> bool:
    """Whether the process is there and has not ended (a zombie has)."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def children(pid: int) -> list[int]:
    """The living children of a process."""
    return [child for child in _pids() if (stat := _stat(child)) and stat[1] == str(pid) and stat[0] not in "ZX"]


def zombies(pid: int) -> list[str]:
    """The children of a process that have ended and are not reaped."""
    return [f"zombie {child}" for child in _pids() if _stat(child) == ["Z", str(pid)]]


def descendants(pid: int) -> list[int]:
    """All living processes below a process, parents first."""
    found: list[int] = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def command_line(pid: int) -> str:
    """With blanks between the arguments; empty for a process that has ended."""
    return _read(pid, "cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()


def kill(pids: Iterable[int], number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """State and parent, of what follows the command's name in parentheses."""
    return _read(pid, "stat").decode("utf-8", "replace").rpartition(")")[2].split()[:2]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
