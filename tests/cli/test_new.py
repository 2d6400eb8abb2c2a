"""`freshet new`: what it writes passes `freshet check`, runs, and tests itself; what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from freshet.cli.app import run
from freshet.testing import assert_sensor_contract, engine, plugin


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "freshet.toml").write_text('state_dir = "../state"\nplugins_dir = "../plugins"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    return "".join(capsys.readouterr())


def test_all_starts_together_pass_the_check_without_a_word(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("sensor", "asset", "plugin"):
        assert run(["new", kind, f"my_{kind}"]) == 0
    assert f"wrote {site}/plugins/tests/test_my_plugin.py" in _said(capsys)
    assert run(["check"]) == 0
    assert capsys.readouterr() == ("ok: 3 assets, 1 job, 2 sensors, 0 schedules, 1 partition set\n", "")


def test_they_are_formatted_and_clean_as_our_own(site: Path) -> None:
    for kind in ("sensor", "asset", "plugin"):
        assert run(["new", kind, "orders", "--dir", kind]) == 0
    config = str(Path(__file__).resolve().parents[2] / "pyproject.toml")
    for words in (["check"], ["format", "--check"]):
        argv = [sys.executable, "-m", "ruff", *words, "--no-cache", "--config", config, "sensor", "asset", "plugin"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_sensor_asks_for_runs(site: Path) -> None:
    assert run(["new", "sensor", "orders"]) == 0
    with engine("plugins/orders.py") as river:
        river.advance("10m")
        assert set(river.states("orders_item")) == {"succeeded"}
        assert 9 <= len(river.runs("orders_item")) <= 11
    assert_sensor_contract(plugin("plugins/orders.py").orders)


def test_an_asset_is_made_when_it_lapses(site: Path) -> None:
    assert run(["new", "asset", "orders"]) == 0
    with engine("plugins/orders.py") as river:
        river.advance("59m")
        assert river.states("orders") == []
        river.advance("2h")
        assert river.states("orders") == ["succeeded", "succeeded"]
        assert river.value("orders")[3] == {"number": 3, "square": 9}


def test_the_tests_of_a_plugin_pass(site: Path) -> None:
    assert run(["new", "plugin", "orders"]) == 0
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "plugins/tests/test_orders.py"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_another_folder_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deep" / "plugins"
    assert run(["new", "asset", "orders", "--dir", str(folder), "--json"]) == 0
    assert json.loads(_said(capsys))["written"] == [str(folder / "orders.py")]
    assert "def orders(ctx" in (folder / "orders.py").read_text()


@pytest.mark.parametrize(
    ("name", "says", "hint"),
    [
        ("new-orders", "'new-orders' is not a name", "new_orders"),
        ("7days", "'7days' is not a name", "no digit first"),
        ("../orders", "'../orders' is not a name", "letters"),
        ("", "'' is not a name", "letters"),
        ("class", "'class' has a meaning of its own in Python", "class_orders"),
        ("__init__", "has a meaning of its own", ""),
        ("test_orders", "pytest would take test_orders.py for tests", "choose a name"),
        ("o" * 81, "has 81 characters", "the limit is 80"),
    ],
)
def test_a_bad_name_is_refused(site: Path, capsys: pytest.CaptureFixture[str], name: str, says: str, hint: str) -> None:
    for kind in ("sensor", "asset", "plugin"):
        assert run(["new", kind, name]) == 2
        said = _said(capsys)
        assert f"error: {kind}: " in said
        assert says in said
        assert hint in said
    assert list((site / "plugins").iterdir()) == []


@pytest.mark.parametrize("there", ["orders.py", "tests/test_orders.py", "orders/__init__.py"])
def test_what_is_there_is_left_alone(site: Path, capsys: pytest.CaptureFixture[str], there: str) -> None:
    path = site / "plugins" / there
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine\n")
    before = sorted(site.rglob("*"))
    assert run(["new", "plugin", "orders"]) == 1
    said = _said(capsys)
    assert "is there already" in said
    assert "nothing was written" in said
    assert path.read_text() == "mine\n"
    assert sorted(site.rglob("*")) == before


def test_without_a_configuration_it_asks_for_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["new", "asset", "orders"]) == 1
    assert "hint: say where the plugins are: --dir plugins" in _said(capsys)
    (tmp_path / "file").write_text("")
    assert run(["new", "asset", "orders", "--dir", "file/plugins"]) == 1
    assert "cannot be written" in _said(capsys)
