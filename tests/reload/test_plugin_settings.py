"""`[plugins.NAME]` is edited while a daemon runs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.daemon import Daemon, Site, site_at

PLUGIN = """
from pydantic import BaseModel, SecretStr
from freshet import asset, settings

class Orders(BaseModel):
    factor: int = 1
    token: SecretStr | None = None

ORDERS = settings("orders", Orders)

@asset
def one() -> str:
    token = settings("orders", Orders).token
    return f"{ORDERS.factor}{'' if token is None else len(token.get_secret_value())}"

@asset(executor="detached")
def far() -> str:
    return f"far {ORDERS.factor}"
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path, plugins={"a.py": PLUGIN}) as made:
        yield made


def _edit(site: Site, table: str) -> None:
    text = site.config.read_text().partition("\n[plugins")[0]
    site.config.write_text(f"{text}\n{table}\n")


def _made(site: Site, asset: str) -> Any:
    done = site.cli("materialize", asset, "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    (value,) = sorted((site.state / "values" / asset / "@").iterdir(), key=lambda path: path.stat().st_mtime)[-1:]
    return value.read_text().strip('"')


def _version(daemon: Daemon) -> str:
    return daemon.client.status().definitions_version


def test_an_edit_of_a_table_comes_into_force_with_a_reload(site: Site) -> None:
    _edit(site, "[plugins.orders]\nfactor = 2")
    daemon = site.start().ready()
    assert (_made(site, "one"), _made(site, "far")) == ("2", "far 2")
    before = _version(daemon)
    _edit(site, "# a line more\n[plugins.orders]\nfactor = 2")
    assert site.cli("reload").returncode == 0
    assert _version(daemon) == before, "where it stands is no matter"
    _edit(site, "[plugins.orders]\nfactor = 3")
    assert "freshet reload" in site.cli("check").stdout
    assert site.cli("reload").returncode == 0
    assert _version(daemon) != before
    assert (_made(site, "one"), _made(site, "far")) == ("3", "far 3")
    (site.folder / "token").write_text("12345678")
    _edit(site, '[plugins.orders]\nfactor = 4\ntoken = "file:token"')
    now = _version(daemon)
    daemon.signal(signal.SIGHUP)
    daemon.wait_until(lambda: _version(daemon) != now, "it is put in force")
    assert _made(site, "one") == "48"
    (site.folder / "token").write_text("123456789")
    assert _made(site, "one") == "49", "a secret is read when it is asked for"
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('[plugins.orders]\nfactor = "many"', "plugins.orders.factor: input should be a valid integer"),
        ("[plugins.orders]\nfaktor = 3", "plugins.orders.faktor: unknown key"),
        ('[plugins.orders]\ntoken = "env:NOT_SET"', "the secret 'env:NOT_SET' is not there"),
        ("[plugins.orders\n", "not TOML"),
        ("[plugins.orders]\nfactor = 3\n[htpp]\nport = 1", "unknown setting 'htpp'"),
        ("[plugins]\norders = 3", "plugins.orders: is no table"),
    ],
)
def test_a_broken_edit_leaves_what_is_in_force(site: Site, table: str, says: str) -> None:
    _edit(site, "[plugins.orders]\nfactor = 2")
    daemon = site.start().ready()
    before = _version(daemon)
    _edit(site, table)
    answer = daemon.client.reload()  # not by a command, which would not find the daemon in a file that is no TOML
    assert answer.outcome == "refused"
    assert says in str(answer.problems)
    assert says in str(daemon.client.status().load_problems)
    assert _version(daemon) == before
    _edit(site, "[plugins.orders]\nfactor = 2")
    assert site.cli("reload").returncode == 0
    assert daemon.client.status().load_problems == ()
    assert _made(site, "one") == "2"
    assert daemon.stop() == 0


def test_a_table_that_nobody_asks_for_is_told(site: Site) -> None:
    _edit(site, "[plugins.ordrs]\nfactor = 2")
    line = site.config.read_text().splitlines().index("[plugins.ordrs]") + 1
    done = site.cli("check")
    assert done.returncode == 0
    assert f"freshet.toml:{line}: warning: [plugins.ordrs]: no plugin has asked for it" in done.stderr
    assert 'settings("ordrs", Model)' in done.stderr


def test_a_daemon_does_not_start_on_what_is_wrong(site: Site) -> None:
    _edit(site, "[plugins.orders]\nfaktor = 3")
    assert site.start().wait_ended() == 1
    assert "plugins.orders.faktor: unknown key (did you mean 'factor'?)" in site.log_text()
