"""`freshet service`: units written, known again, removed; systemd asked where it is, and named where it is not."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.unprivileged import NOBODY, as_nobody, his_folder

from freshet.cli.app import run
from freshet.cli.commands import service
from freshet.cli.units import Place, edited, rendered, stamped
from freshet.errors import SettingsError

Call = Callable[..., tuple[int, str, str]]

SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
    *show*) echo ActiveState=active; echo "StatusText=ready: 0 running, 0 queued";;
    *restart*) [ ! -e "$CALLS.fails" ] || { echo "Job failed" >&2; exit 1; };;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project: plugins, and a configuration."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "freshet.toml").write_text('state_dir = "state"\nplugins_dir = "plugins"\nroot = "."\n')
    return tmp_path


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """`freshet service ...` with units of its own: its exit status, and what it said."""

    def made(*argv: str, own: bool = True) -> tuple[int, str, str]:
        where = ("--folder", str(folder / "units")) if own else ()
        status = run(["--config", str(folder / "freshet.toml"), "service", *argv, *where])
        said = capsys.readouterr()
        return status, said.out, said.err

    return made


@pytest.fixture
def systemd(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine where systemd runs: what is asked of systemctl is written to this file."""
    (folder / "bin").mkdir()
    (folder / "bin" / "systemctl").write_text(SYSTEMCTL)
    (folder / "bin" / "systemctl").chmod(0o755)
    calls = folder / "calls"
    calls.touch()
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setattr(service, "BOOTED", folder)
    yield calls


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def units(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "units").iterdir()}


def test_the_units_name_what_is_in_use(folder: Path, call: Call) -> None:
    append(folder / "freshet.toml", 'shutdown_grace = "90s"\n[http]\nhost = "::"\nport = 99\n')
    status, said, _ = call("install", "--system", "--as", "somebody")
    assert status == 0
    made = units(folder)
    assert set(made) == {"freshet.service", "freshet.socket"}
    text = made["freshet.service"]
    assert f"\nExecStart={sys.executable} -m freshet run --config {folder}/freshet.toml\n" in text
    assert "\nUser=somebody\n" in text and f"\nReadWritePaths={folder} {folder}/state\n" in text
    assert "\nTimeoutStopSec=114s\n" in text, "90 s of grace, and the last writes"
    assert "\nListenStream=[::]:99\n" in made["freshet.socket"]
    for wanted in ("useradd --system", f"install -d -m 700 -o somebody -g somebody {folder}/state", "every address"):
        assert wanted in said
    assert "  systemctl enable --now freshet.socket\n" in said
    assert not re.search(r"@[A-Z]+@", text + made["freshet.socket"])


def test_a_state_directory_of_systemd_is_its_to_make(folder: Path, call: Call) -> None:
    (folder / "freshet.toml").write_text('state_dir = "/var/lib/freshet"\nplugins_dir = "plugins"\n')
    assert "install -d" not in call("install", "--system")[1]
    assert "\nStateDirectory=freshet\n" in units(folder)["freshet.service"]


def test_a_unit_of_a_user_asks_for_nothing_that_his_manager_cannot(folder: Path, call: Call) -> None:
    _, said, _ = call("install", "--user")
    text = units(folder)["freshet.service"]
    for line in ("User=", "StateDirectory=", "CapabilityBoundingSet=", "PrivateTmp=", "network-online.target"):
        assert line not in text
    assert "WantedBy=default.target" in text and "SystemCallFilter=" in text
    assert "systemctl --user daemon-reload" in said and "useradd" not in said


def test_again_changes_nothing_and_what_changed_is_written(folder: Path, call: Call) -> None:
    first = json.loads(call("install", "--user", "--json")[1])
    assert first["changed"] == ["freshet.socket", "freshet.service"] and not first["systemd"] and not first["ran"]
    assert json.loads(call("install", "--user", "--json")[1])["changed"] == []
    assert call("status", "--user")[0] == 0
    append(folder / "freshet.toml", "[http]\nport = 99\n")
    status, said, _ = call("status", "--user")
    assert status == 1 and re.search(r"freshet.socket +outdated", said) and re.search("service +installed", said)
    assert json.loads(call("install", "--user", "--json")[1])["changed"] == ["freshet.socket"]
    assert call("status", "--user")[0] == 0


@pytest.mark.parametrize("edit", ["an edit", "a unit of somebody else's"])
def test_an_edited_unit_is_spared_unless_forced(folder: Path, call: Call, edit: str) -> None:
    call("install", "--user")
    path = folder / "units" / "freshet.service"
    text = path.read_text().replace("WatchdogSec=30s", "WatchdogSec=5min")
    path.write_text(text if edit == "an edit" else "[Service]\nExecStart=/bin/true\n")
    kept = units(folder)
    for command in ("install", "uninstall"):
        status, _, said = call(command, "--user")
        assert (status, units(folder)) == (1, kept)
        assert f"error: {path} was edited, or is not Freshet's" in said
        assert "systemctl --user edit freshet" in said and "--force" in said
    assert re.search(r"freshet.service +edited", call("status", "--user")[1])
    assert call("install", "--user", "--force")[0] == 0 and not edited(path.read_text())
    path.write_text(text)
    assert call("uninstall", "--user", "--force")[0] == 0
    assert units(folder) == {}


def test_what_is_not_there_is_said(folder: Path, call: Call) -> None:
    status, said, _ = call("status", "--user")
    assert status == 1 and said.count("absent") == 2
    status, said, _ = call("uninstall", "--user")
    assert (status, said) == (0, f"there are no units of Freshet in {folder}/units\n")


def test_credentials_that_plugins_name_are_handed_over(folder: Path, call: Call) -> None:
    """Their texts are searched; nobody runs them."""
    (folder / "plugins" / "a.py").write_text("raise SystemExit\nsecret='cred:orders', other=('cred:b-2', 'env:X')\n")
    said = call("install", "--user", "--credential", "orders:/srv/50%", "--credential", "extra")[1]
    found = re.findall("^LoadCredential=(.*)$", units(folder)["freshet.service"], re.M)
    assert found == ["b-2", "extra", "orders:/srv/50%%"]
    assert "credential b-2: read from /etc/credstore/b-2" in said and "orders: read from /srv/50%" in said
    assert call("status", "--user")[0] == 0, "those that were given count as they are"


@pytest.mark.parametrize(
    ("config", "argv", "says"),
    [
        ("[http]\nport = 0\n", (), "a service needs a fixed port"),
        ('[http]\nhost = "no such"\n', (), "http.host: 'no such' is no address"),
        ("", ("--as", "a b"), "--as: 'a b' is no user's name"),
        ("", ("--credential", "a\nb"), "cannot stand in a systemd unit"),
        ('plugins_dir = "gone"\n', (), "plugins_dir: "),
    ],
)
def test_what_no_unit_can_say_is_refused_before_anything_is_written(
    folder: Path, call: Call, config: str, argv: tuple[str, ...], says: str
) -> None:
    text = (folder / "freshet.toml").read_text()
    base = text.replace('plugins_dir = "plugins"\n', "") if "plugins_dir" in config else text
    (folder / "freshet.toml").write_text(base + config)
    status, _, said = call("install", "--system", *argv)
    assert status in (1, 2) and says in said and "hint: " in said
    assert not (folder / "units").exists()


# --- with systemd, and without -------------------------------------------------------------------------------


def test_with_systemd_it_is_told_and_with_now_it_starts(folder: Path, call: Call, systemd: Path) -> None:
    _, said, _ = call("install", "--user", own=False)
    assert systemd.read_text() == "--user daemon-reload\n"
    assert said.endswith(
        "to put it in force:\n  systemctl --user enable --now freshet.socket\n"
        "  systemctl --user enable freshet.service\n  systemctl --user restart freshet.service\n"
    )
    systemd.write_text("")
    status, said, _ = call("install", "--user", "--now", own=False)
    assert status == 0 and "to put it in force" not in said
    assert systemd.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable --now freshet.socket",
        "--user enable freshet.service",
        "--user restart freshet.service",
    ]
    status, said, _ = call("status", "--user", own=False)
    assert status == 0 and "StatusText: ready: 0 running, 0 queued" in said
    systemd.write_text("")
    assert call("uninstall", "--user", own=False)[0] == 0
    assert systemd.read_text().splitlines() == [
        "--user disable --now freshet.service freshet.socket",
        "--user daemon-reload",
    ]
    assert list((folder / "config" / "systemd" / "user").iterdir()) == []


def test_what_systemctl_refuses_is_said(folder: Path, call: Call, systemd: Path) -> None:
    systemd.with_name("calls.fails").touch()
    status, _, said = call("install", "--user", "--now", own=False)
    assert status == 1 and "systemctl --user restart freshet.service failed: Job failed" in said


def test_without_systemd_it_is_said_and_now_is_refused(
    folder: Path, call: Call, systemd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BOOTED", folder / "nowhere")
    status, _, said = call("install", "--user", "--now", own=False)
    assert status == 1 and "systemd does not run this machine" in said and "leave --now out" in said
    assert not (folder / "config").exists()
    status, said, _ = call("install", "--user", own=False)
    assert status == 0 and "systemd does not run this machine" in said and "systemctl --user daemon-reload" in said
    assert "systemd does not run this machine" in call("status", "--user", own=False)[1]
    assert systemd.read_text() == ""


# --- whose files they are ------------------------------------------------------------------------------------


def test_for_one_who_is_not_root_the_machine_is_closed_and_his_own_units_are_his() -> None:
    with his_folder() as folder:
        for made in ("plugins", "home"):
            (folder / made).mkdir()
        (folder / "freshet.toml").write_text('state_dir = "state"\nplugins_dir = "plugins"\nroot = "."\n')
        if os.geteuid() == 0:
            os.chown(folder / "home", NOBODY, NOBODY)
        python_path = os.environ.get("PYTHONPATH", "")
        env = {"PATH": os.defpath, "HOME": str(folder / "home"), "PYTHONPATH": python_path}
        argv = [sys.executable, "-m", "freshet", "--config", str(folder / "freshet.toml"), "service", "install"]
        done = as_nobody([*argv, "--system"], env=env, cwd=folder)
        assert done.returncode == 1, done
        assert "/etc/systemd/system cannot be written: Permission denied" in done.stderr and "as root" in done.stderr
        done = as_nobody(argv, env=env, cwd=folder)
        assert done.returncode == 0, done.stderr
        made_at = folder / "home" / ".config" / "systemd" / "user"
        for name in ("freshet.service", "freshet.socket"):
            found = (made_at / name).stat()
            assert (found.st_mode & 0o777, found.st_uid != 0) == (0o644, True)


# --- the texts -----------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20)


def place(name: str) -> Place:
    base = Path("/srv") / name
    return Place(base / "python", base / "freshet.toml", base, base / "plugins", base / "state", "127.0.0.1:1", 1.0)


@given(WORDS)
def test_any_path_comes_out_as_it_went_in_or_is_refused(name: str) -> None:
    """Read as systemd reads words: quotes, backslashes, specifiers, variables."""
    if not name.isprintable():
        with pytest.raises(SettingsError):
            rendered(place(name), "system")
        return
    text = rendered(place(name), "system")["freshet.service"]
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.M)
    words = [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(line)]
    assert words == [f"/srv/{name}/python", "-m", "freshet", "run", "--config", f"/srv/{name}/freshet.toml"]
    (line,) = re.findall(r"^ReadWritePaths=(.*)$", text, re.M)
    assert [word.replace("%%", "%") for word in shlex.split(line)] == [f"/srv/{name}", f"/srv/{name}/state"]
    assert not re.search(r"(?<!%)%(%%)*(?![%CS])", line)


@given(st.text(), st.integers(0, 10_000), st.characters())
def test_every_edit_is_noticed(text: str, at: int, put: str) -> None:
    whole = stamped(text, "system")
    assert not edited(whole)
    begin = whole.index("\n\n") + 2
    at = begin + at % (len(whole) - begin + 1)
    assert edited(whole[:at] + put + whole[at:])
    assert edited(text) or not text
    assert edited("")
