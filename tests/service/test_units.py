"""The units that ship: those that `freshet service install` would write, right by systemd's own word, and closed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from freshet.cli.units import NAMES, Place, rendered

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = Place(
    python=Path("/opt/freshet/bin/python"),
    config=Path("/etc/freshet/freshet.toml"),
    root=Path("/srv/freshet"),
    plugins=Path("/srv/freshet/plugins"),
    state=Path("/var/lib/freshet"),
    address="127.0.0.1:8765",
    grace=6.0,
    credentials=("orders-hook",),
)
OPEN = {
    "DeviceAllow",
    "IPAddressDeny",
    "MemoryDenyWriteExecute",
    "PrivateNetwork",
    "ProcSubset",
    "RemoveIPC",
    "RestrictAddressFamilies",
    "RootDirectory",
    "SystemCallFilter",
}
"""What systemd 252 finds open; a later one may have more to say, within the bound."""
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed here")


def analyze(*argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    surroundings = {**os.environ, **(env or {})}
    return subprocess.run([ANALYZE, *argv], capture_output=True, text=True, check=False, timeout=120, env=surroundings)


@pytest.mark.parametrize("name", NAMES)
def test_what_ships_is_what_install_writes_for_the_usual_places(name: str) -> None:
    assert (ROOT / "config" / name).read_text() == rendered(SHIPPED, "system")[name]


def test_every_promise_of_the_unit_stands_there() -> None:
    text = (ROOT / "config" / "freshet.service").read_text()
    settings = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z]\w+=", line))
    assert settings["Type"] == "notify" and settings["KillMode"] == "process"
    assert settings["StateDirectory"] == "freshet" and "LoadCredential" in settings
    assert int(settings["WatchdogSec"].removesuffix("s")) > 0 and settings["Restart"] == "on-failure"
    assert settings["Requires"] == "freshet.socket" and "HUP" in settings["ExecReload"]


@needs_systemd
def test_its_exposure_is_at_most_one_and_a_half_and_what_is_open_has_a_reason() -> None:
    text = (ROOT / "config" / "freshet.service").read_text()
    unit = str(ROOT / "config" / "freshet.service")
    done = analyze("security", "--offline=yes", "--threshold=15", "--no-pager", unit)
    assert done.returncode == 0, done.stdout
    exposure = re.search(r"Overall exposure level for freshet.service: ([\d.]+)", done.stdout)
    assert exposure is not None and float(exposure[1]) <= 1.5
    for line in done.stdout.splitlines():
        if line.startswith("✗"):
            setting = line.split()[1].split("=")[0]
            assert setting not in OPEN or re.search(rf"^# .*\b{setting}=", text, re.M), (
                f"no comment says why {setting}= is open: {line}"
            )


@needs_systemd
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    """As shipped, in a tree that has what it names."""
    units = tmp_path / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for program in ("opt/freshet/bin/python", "bin/kill"):
        path = tmp_path / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    for name in NAMES:
        shutil.copy(ROOT / "config" / name, units)
    system = Path("/usr/lib/systemd/system")
    (tmp_path / "usr" / "lib" / "systemd").mkdir(parents=True)
    if system.is_dir():
        shutil.copytree(system, tmp_path / "usr" / "lib" / "systemd" / "system", symlinks=True)
    done = analyze("verify", f"--root={tmp_path}", "--man=no", "--recursive-errors=no", *NAMES)
    assert done.returncode == 0, done.stderr


@needs_systemd
@pytest.mark.parametrize("scope", ["system", "user"])
def test_systemd_finds_nothing_wrong_with_what_is_written_here(tmp_path: Path, scope: str) -> None:
    """With paths that need quotes, too."""
    project = tmp_path / "a project, 50% done"
    project.mkdir()
    python = project / "python"
    python.symlink_to(sys.executable)
    made = Place(python, project / "f.toml", project, project / "plugins", project / "state", "[::1]:8765", 0.5)
    (tmp_path / "units").mkdir()
    for name, text in rendered(made, "user" if scope == "user" else "system").items():
        (tmp_path / "units" / name).write_text(text)
    paths = [str(tmp_path / "units" / name) for name in NAMES]
    options = ("--user",) if scope == "user" else ()
    done = analyze(
        "verify", *options, "--man=no", "--recursive-errors=no", *paths, env={"XDG_RUNTIME_DIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if "/units/" in line or line.startswith("freshet.")]
    assert not ours
