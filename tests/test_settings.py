"""The settings: file, environment, and what is said when they are wrong."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from freshet.configfile import socket_of
from freshet.configuration import Settings, load_settings
from freshet.definitions.limits import Limits, PoolLimit
from freshet.definitions.pool import Rate
from freshet.errors import SettingsError

SHIPPED = Path(__file__).resolve().parent.parent / "config" / "freshet.toml"
BASE = 'state_dir = "state"\nplugins_dir = "plugins"\n'


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("FRESHET_"):
            monkeypatch.delenv(name)


def _write(folder: Path, text: str) -> Path:
    path = folder / "freshet.toml"
    path.write_text(text)
    return path


def _refused(path: Path | None) -> SettingsError:
    with pytest.raises(SettingsError) as error:
        load_settings(path)
    return error.value


def test_paths_of_the_file_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    text = 'state_dir = "../state"\nplugins_dir = "../a/plugins"\n[http]\nsocket = "s.sock"\n'
    found = load_settings(_write(tmp_path / "config", text))
    assert found.state_dir == tmp_path / "state"
    assert found.plugins_dir == tmp_path / "a" / "plugins"
    assert found.root == tmp_path / "a", "the folder above the plugins"
    assert found.socket_path == tmp_path / "config" / "s.sock"


def test_the_shipped_file_holds_every_setting_with_its_default() -> None:
    found = load_settings(SHIPPED)
    root = SHIPPED.parent.parent
    assert (found.state_dir, found.plugins_dir, found.root) == (root / "state", root / "plugins", root)
    assert (found.shutdown_grace, found.http.port, found.retention.runs) == (6.0, 8765, 90 * 86400)
    defaults = Settings(state_dir=found.state_dir, plugins_dir=found.plugins_dir, root=root)
    assert found == defaults
    text = SHIPPED.read_text()
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            section = text.partition(f"\n[{name}]\n")[2].partition("\n[")[0]
            for key in field.annotation.model_fields:
                assert re.search(rf"^(# )?{key} = ", section, re.M), f"{name}.{key} is not in the shipped file"
        else:
            assert re.search(rf"^({name} = |\[{name}\])", text, re.M), f"{name} is not in the shipped file"
    examples = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.M)
    assert tomllib.loads(examples)["pools"] == {"database": 4}


def test_each_example_of_the_shipped_file_would_load(tmp_path: Path) -> None:
    """So no key of it is of yesterday, and each that has a default but is shown by an example is really commented."""
    text = SHIPPED.read_text()
    shown = re.findall(r"^# (\w+) = ", text, re.M)
    assert len(shown) == len(set(shown))
    found = load_settings(_write(tmp_path, re.sub(r"^# (\w+ = )", r"\1", text, flags=re.M)))
    assert (found.http.socket, found.process.workers) == (Path("/run/freshet/freshet.sock"), 4)
    assert found.plugins == {"orders": {"bucket": "orders", "token": "env:ORDERS_TOKEN"}}
    assert found.limits.tags == {"customer": 2, "customer=acme": 5}


def test_the_environment_goes_above_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path, BASE + '[http]\nport = 1\nhost = "::1"\n[pools]\nweb = 3\n')
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "FRESHET_STATE_DIR": "elsewhere",
        "FRESHET_HTTP__PORT": "2",
        "FRESHET_POOLS__DB": "4",
        "FRESHET_SHUTDOWN_GRACE": "1m30s",
        "FRESHET_LOG__LEVEL": "debug",
        "FRESHET_PORT": "tcp://10.0.0.1:80",
        "FRESHET_CRASH_KILLS": "20",
        "FRESHET_TIMEZONE": "",
    }.items():
        monkeypatch.setenv(name, value)
    found = load_settings(path)
    assert found.state_dir == tmp_path / "elsewhere"
    assert (found.http.host, found.http.port) == ("::1", 2)
    assert {name: one.slots for name, one in found.pools.items()} == {"web": 3, "db": 4}
    assert (found.shutdown_grace, found.log.level, found.timezone) == (90.0, "debug", "UTC")
    assert socket_of(path) == found.socket_path


def test_limits_are_read(tmp_path: Path) -> None:
    text = """[pools]
web = 3
[pools.api]
slots = 4
rate = "100/min"
[limits]
runs = 10
tags = { customer = 2, "customer=acme" = 5 }
"""
    found = load_settings(_write(tmp_path, BASE + text))
    assert found.run_limits == Limits(
        {"web": PoolLimit(3), "api": PoolLimit(4, Rate(100, 60.0))}, 10, {"customer": 2, "customer=acme": 5}
    )


def test_without_a_file_the_environment_may_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no configuration" in _refused(None).message
    monkeypatch.setenv("FRESHET_STATE_DIR", "/var/lib/freshet")
    monkeypatch.setenv("FRESHET_PLUGINS_DIR", "/opt/plugins")
    found = load_settings()
    assert (found.state_dir, found.root) == (Path("/var/lib/freshet"), Path("/opt"))
    assert socket_of(None) == Path("/var/lib/freshet/freshet.sock")


def test_the_default_file_is_found_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    _write(tmp_path / "config", BASE)
    assert load_settings().state_dir == tmp_path / "config" / "state"
    assert socket_of(None) == tmp_path / "config" / "state" / "freshet.sock"


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("[http]\nprot = 1", "freshet.toml:4: unknown setting 'http.prot'", "did you mean 'port'?"),
        ("stat_dir = 1", "freshet.toml:3: unknown setting 'stat_dir'", "did you mean 'state_dir'?"),
        ("http.prot = 1", "freshet.toml:3: unknown setting 'http.prot'", "did you mean 'port'?"),
        ("[htpp]\nport = 1", "freshet.toml:3: unknown setting 'htpp'", "did you mean 'http'?"),
        ('shutdown_grace = "5 parsecs"', "freshet.toml:3: shutdown_grace: '5 parsecs' is not a duration", '"30s"'),
        ("shutdown_grace = 5", "freshet.toml:3: shutdown_grace: expected a duration, found 5", '"30s"'),
        ('[retention]\nruns = "0s"', "freshet.toml:4: retention.runs", ""),
        ("[http]\nport = 70000", "freshet.toml:4: http.port: input should be less than or equal to 65535", ""),
        ('timezone = "Mars/Olympus"', "freshet.toml:3: timezone: unknown time zone 'Mars/Olympus'", "Europe/Berlin"),
        ('[pools]\n"a b" = 1', "freshet.toml:4: pools.a b", ""),
        ("[pools]\ndb = -1", "freshet.toml:4: pools.db", ""),
        ('[pools.db]\nslots = 1\nrate = "fast"', "freshet.toml:5: pools.db.rate: 'fast' is no rate", '"100/min"'),
        ("[pools.db]\nslot = 1", "freshet.toml:4: unknown setting 'pools.db.slot'", ""),
        ('[limits]\ntags = { "=x" = 1 }', "freshet.toml: limits.tags", "customer"),
        ('[log]\nlevel = "loud"', "freshet.toml:4: log.level", ""),
        ("[process]\nworkers = 0", "freshet.toml:4: process.workers", ""),
        ("http = 3", "freshet.toml:3: http: input should be a valid dictionary", ""),
        ("root = 3", "freshet.toml:3: root: expected a path, found 3", ""),
        ("x = [\n\n", "not TOML", "toml.io"),
        ("= 1", "freshet.toml:3: not TOML", "toml.io"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, says: str, hint: str) -> None:
    error = _refused(_write(tmp_path, BASE + text + "\n"))
    assert says in error.message
    assert hint in error.hint
    assert str(tmp_path) in error.message


def test_all_mistakes_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHET_HTTP__HSOT", "x")
    message = _refused(_write(tmp_path, 'plugin_dir = "x"\n[log]\nlevel = "loud"\n')).message
    assert "state_dir is missing" in message
    assert "plugins_dir is missing" in message
    assert "unknown setting 'plugin_dir'" in message
    assert "FRESHET_HTTP__HSOT: unknown setting 'http.hsot' (did you mean 'host'?)" in message
    assert "log.level" in message
    assert "root is missing" not in message, "it follows from the plugins"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("FRESHET_STATE_DRI", "did you mean FRESHET_STATE_DIR?"),
        ("FRESHET_HTTPS__PORT", "did you mean FRESHET_HTTP__PORT?"),
        ("FRESHET_NOTHING__AT_ALL", ""),
    ],
)
def test_a_slip_in_the_environment_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.setenv(name, "1")
    error = _refused(_write(tmp_path, BASE))
    assert (error.message, error.hint) == (f"environment: unknown setting {name}", hint)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert "no such file" in _refused(tmp_path / "nothing.toml").message
    assert "--config" in _refused(tmp_path / "nothing.toml").hint
    binary = tmp_path / "freshet.toml"
    binary.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in _refused(binary).message


def test_the_client_needs_nothing_but_the_socket(tmp_path: Path) -> None:
    path = _write(tmp_path, 'state_dir = "s"\n[http]\nprot = 1\n')
    assert socket_of(path, {}) == tmp_path / "s" / "freshet.sock"
    assert socket_of(path, {"FRESHET_HTTP__SOCKET": "/run/f.sock"}) == Path("/run/f.sock")
    assert socket_of(path, {"FRESHET_STATE_DIR": "/var/x"}) == Path("/var/x/freshet.sock")
    with pytest.raises(SettingsError, match="state_dir is missing"):
        socket_of(_write(tmp_path, "http = 3\n"), {})
