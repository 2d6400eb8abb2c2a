"""Where a code host finds and puts things."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from freshet.definitions.tables import Tables
from freshet.errors import HostError, SettingsError
from freshet.host.sources import Sources

__all__ = ["HostSettings"]


@dataclass(frozen=True)
class HostSettings:
    """Paths are absolute. `root`: the working directory of plugins; `python`: the interpreter that runs them;
    `start_timeout`: seconds for all plugins to load, and again to describe them; `timezone`: of sets in time that name
    none; `tables`: what the configuration says to plugins, read each time; it may raise `SettingsError`."""

    plugins_dir: Path
    root: Path
    state_dir: Path
    python: str = sys.executable
    start_timeout: float = 30.0
    timezone: str = "UTC"
    tables: Callable[[], Tables] = Tables

    def read(self) -> Sources:
        """The plugins as they are now. Blocks. Raises `HostError` where the configuration is wrong."""
        try:
            return Sources.read(self.plugins_dir, self.tables())
        except SettingsError as error:
            raise HostError(error.message, hint=error.hint) from error
