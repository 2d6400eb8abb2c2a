"""Where a code host finds and puts things."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HostSettings"]


@dataclass(frozen=True)
class HostSettings:
    """Paths are absolute. `root`: the working directory of plugins; `python`: the interpreter that runs them;
    `start_timeout`: seconds for all plugins to load, and again to describe them; `timezone`: of sets in time that name
    none."""

    plugins_dir: Path
    root: Path
    state_dir: Path
    python: str = sys.executable
    start_timeout: float = 30.0
    timezone: str = "UTC"
