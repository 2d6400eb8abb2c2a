"""The fixtures that pytest finds where Freshet is installed, and what they cost where nobody uses them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TESTS = r'''
from freshet import RunRequest, asset, job, sensor

@job
def work(): ...

@sensor(target=work)
def looking(ctx):
    ctx.cursor = (ctx.cursor or 0) + 1
    if ctx.cursor < 3:
        yield RunRequest(run_key=str(ctx.cursor))

@sensor(target=work)
def forgetful(ctx):
    yield RunRequest(run_key="again")

def test_tick(freshet_tick):
    assert freshet_tick(looking, 1).run_keys == ["2"]

def test_contract(freshet_contract):
    freshet_contract(quiet)

@sensor(target=work)
def quiet(ctx):
    if not ctx.ledger.seen("a", "1"):
        ctx.ledger.add("a", "1")
        yield RunRequest(run_key="a")

def test_contract_broken(freshet_contract):
    import pytest
    with pytest.raises(AssertionError, match="a second look"):
        freshet_contract(forgetful)

def test_engine(freshet_engine):
    river, other = freshet_engine([work, looking]), freshet_engine([work])
    river.advance("5m")
    assert river.states("work") == ["succeeded", "succeeded"]
    assert other.states() == []

def test_plugin(freshet_plugin, freshet_engine, tmp_path):
    (tmp_path / "orders.py").write_text("from freshet import asset\n@asset\ndef one(): return 1\n")
    assert freshet_plugin(tmp_path / "orders.py").one() == 1
    assert freshet_engine(tmp_path / "orders.py").materialize("one")[0].state == "succeeded"

PLUGIN = """
from freshet import asset, settings
from pydantic import BaseModel, SecretStr

class Orders(BaseModel):
    bucket: str
    token: SecretStr

ORDERS = settings("orders", Orders)

@asset
def one():
    return ORDERS.bucket + ORDERS.token.get_secret_value()
"""

def test_settings(freshet_plugin, freshet_engine, freshet_settings, tmp_path):
    import pytest
    from freshet import settings
    from freshet.errors import SettingsError
    (tmp_path / "orders.py").write_text(PLUGIN)
    with pytest.raises(SettingsError, match="plugins.orders.bucket is missing"):
        freshet_plugin(tmp_path / "orders.py")
    freshet_settings(orders={"bucket": "b", "token": "t"})
    river = freshet_engine(tmp_path / "orders.py")
    river.materialize("one")
    assert river.value("one") == "bt"
    freshet_settings(others={})
    assert settings("orders") == {}
'''

UNTOUCHED = """
import sys

def test_nothing():
    brought = [name for name in sys.modules if name.partition(".")[0] in ("freshet", "freshet_sensors", "pydantic")]
    assert "pytest_freshet" in sys.modules
    assert not brought, brought
"""


def _pytest(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "pytest_freshet", *more]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


def test_they_work_without_being_imported(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    done = _pytest(tmp_path, "-q", "-W", "error")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_where_nobody_asks_for_them_nothing_of_freshet_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(UNTOUCHED)
    done = _pytest(tmp_path, "-q", "-p", "no:hypothesispytest", "-p", "no:schemathesis")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_is_listed_with_its_meaning(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_nothing(): ...\n")
    said = _pytest(tmp_path, "--fixtures", "-v").stdout
    for name in ("freshet_contract", "freshet_engine", "freshet_plugin", "freshet_settings", "freshet_tick"):
        assert f"\n{name}" in said
    assert "freshet.testing.engine" in said


def test_they_are_registered() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"pytest_freshet": "pytest_freshet"}
    assert "daemon/pytest_freshet.py" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
