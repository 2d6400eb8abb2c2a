"""The Dockerfile, read: what it promises stands there, and what it copies is there and enough. (No image is built.)"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from freshet.configuration import load_settings

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Line:
    """An instruction and its arguments, of a stage (0 for what stands above the first)."""

    stage: int
    word: str
    rest: str


def instructions() -> list[Line]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    found: list[Line] = []
    for line in filter(str.strip, text.splitlines()):
        word, _, rest = line.partition(" ")
        stage = (found[-1].stage if found else 0) + (word == "FROM")
        found.append(Line(stage, word, rest.strip()))
    return found


def last_stage() -> dict[str, str]:
    found = instructions()
    return {one.word: one.rest for one in found if one.stage == found[-1].stage}


def ignored(path: str) -> bool:
    """By .dockerignore: the last pattern that fits a path, or a folder above it, decides."""
    parts = Path(path).parts
    above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!")
        if pattern and not pattern.startswith("#"):
            fits = any(fnmatch(one, pattern) or fnmatch(f"/{one}", pattern.replace("**", "*")) for one in above)
            out = line.startswith("#") or (not line.startswith("!") if fits else out)
    return out


def test_it_runs_as_somebody_who_is_not_root() -> None:
    user, _, group = last_stage()["USER"].partition(":")
    assert int(user) > 0 and int(group) > 0, "by number"


def test_it_says_how_to_see_whether_it_is_well_and_how_to_stop_it() -> None:
    found = last_stage()
    options, _, command = found["HEALTHCHECK"].partition("CMD ")
    assert json.loads(command) == ["freshet", "status"] and "--start-period=" in options
    assert (found["STOPSIGNAL"], json.loads(found["ENTRYPOINT"]), json.loads(found["CMD"])) == (
        "SIGTERM",
        ["freshet"],
        ["run"],
    )
    assert json.loads(found["VOLUME"]) == ["/var/lib/freshet"]


def test_what_it_begins_with_is_pinned_and_what_it_installs_is_locked() -> None:
    found = instructions()
    arguments = dict(one.rest.split("=", 1) for one in found if one.word == "ARG")
    images = [one.rest.split()[0] for one in found if one.word == "FROM"]
    assert len(images) == 2, "what builds is left behind"
    for image in images:
        name = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], image)
        assert re.fullmatch(r"[a-z./-]+:\d+\.\d+\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", name), name
    installs = [one.rest for one in found if "pip install" in one.rest]
    assert installs and all("--require-hashes" in one or "--no-index --no-deps" in one for one in installs)
    assert not any(one.word == "ADD" or "apt-get" in one.rest or "curl" in one.rest for one in found)


def test_what_it_copies_is_there_and_reaches_the_build() -> None:
    for one in instructions():
        if one.word == "COPY" and "--from=" not in one.rest:
            *sources, _ = one.rest.split()
            for source in sources:
                assert (ROOT / source).exists(), source
                assert not ignored(source), f".dockerignore keeps {source} out"
    for kept_out in (
        ".git/config",
        ".venv/bin/python",
        "state/freshet.db",
        "config/freshet.service",
        "tests/conftest.py",
    ):
        assert ignored(kept_out), kept_out
    assert ignored("daemon/freshet/__pycache__/errors.cpython-311.pyc")
    assert not ignored("daemon/freshet/errors.py")


@pytest.mark.skipif(shutil.which("sed") is None, reason="sed is not installed here")
def test_its_settings_are_those_that_ship_at_its_own_places(tmp_path: Path) -> None:
    (change,) = (one.rest for one in instructions() if one.word == "RUN" and one.rest.startswith("sed "))
    shutil.copy(ROOT / "config" / "freshet.toml", tmp_path / "shipped.toml")
    subprocess.run(["sh", "-c", change], cwd=tmp_path, check=True)
    found = load_settings(tmp_path / "freshet.toml")
    assert [str(one) for one in (found.state_dir, found.plugins_dir, found.root)] == [
        "/var/lib/freshet",
        "/srv/freshet/plugins",
        "/srv/freshet",
    ]
    assert (found.http.host, found.http.port) == ("0.0.0.0", int(last_stage()["EXPOSE"]))
    assert found.shutdown_grace < 10, "what `docker stop` waits by default"


def test_what_it_copies_is_enough_to_install(tmp_path: Path) -> None:
    """A wheel is made of those files alone, without the network; it has what is no Python in it too."""
    for one in instructions():
        if one.word == "COPY" and one.stage == 1:
            for source in one.rest.split()[:-1]:
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, tmp_path / Path(source).name)
    argv = ["wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", "made", "."]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *argv], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "made").glob("*.whl")
    with zipfile.ZipFile(wheel) as made:
        names = set(made.namelist())
    assert {"freshet/cli/unitfiles/freshet.service", "freshet/cli/unitfiles/freshet.socket"} <= names
    assert {"freshet/cli/unitfiles/system.conf", "freshet_sensors/file.py"} <= names
