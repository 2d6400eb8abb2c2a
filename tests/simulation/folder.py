"""A folder with plugins and a configuration, and the real command on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Folder", "folder_at"]


@dataclass(frozen=True)
class Folder:
    """Where `freshet simulate` runs."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of the tests, without settings."""
        return {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}

    def argv(self, *arguments: str) -> list[str]:
        """The command line."""
        config = str(self.path / "freshet.toml")
        return [sys.executable, "-m", "freshet", "simulate", *arguments, "--config", config]

    def simulate(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The command, to its end."""
        return subprocess.run(
            self.argv(*arguments),
            capture_output=True,
            text=True,
            cwd=self.path,
            env={**self.environment, **environment},
            timeout=60,
            check=False,
        )

    def entries(self, *arguments: str) -> list[dict[str, Any]]:
        """What it prints with `--json`."""
        done = self.simulate(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def folder_at(path: Path, *, timezone: str = "Europe/Berlin", workers: int = 2, **plugins: str) -> Folder:
    """Write the plugins, by name."""
    (path / "plugins").mkdir()
    for name, source in plugins.items():
        (path / "plugins" / f"{name}.py").write_text(source)
    (path / "freshet.toml").write_text(
        f'state_dir = "state"\nplugins_dir = "plugins"\nroot = "."\ntimezone = "{timezone}"\n'
        f"[process]\nworkers = {workers}\n"
    )
    return Folder(path)
