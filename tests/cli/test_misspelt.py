"""What `freshet check` says of the slips of a plugin's author: what is wrong, where, and the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freshet.cli.app import run

HEAD = """from freshet import *
import freshet
from freshet_sensors import *
"""
SLIPS: dict[str, tuple[str, str, str]] = {
    "file": (
        'FileSensor("landing", path="in", patern="*.csv", target="raw")',
        "FileSensor('landing'): there is no patern=",
        "did you mean 'pattern'?",
    ),
    "hook": (
        'WebhookSensor("hook", path="in", scheme="none", target="raw", debunce="1s")',
        "WebhookSensor('hook'): there is no debunce=",
        "did you mean 'debounce'?",
    ),
    "rows": (
        'SqlSensor("rows", url="env:X", query="SELECT 1 WHERE id > :cursor", target="raw", colum="id")',
        "SqlSensor('rows'): there is no colum=",
        "",
    ),
    "decorated": ("@sensor(intervall='5s')\ndef looks(ctx): ...", "sensor(): there is no intervall=", "'interval'"),
    "decorated_flow": ("@sensor(throtle='5/s')\ndef looks(ctx): ...", "sensor(): there is no throtle=", "'throttle'"),
    "made": ("@asset(retires=3)\ndef made(): ...", "asset(): there is no retires=", "'retries'"),
    "work": ("@job(timout='5s')\ndef work(): ...", "job(): there is no timout=", "'timeout'"),
    "daily": ("@schedule(crn='0 6 * * *', target='raw')\ndef daily(): ...", "schedule(): there is no crn=", "'cron'"),
    "batch": ("Batch(cout=3)", "Batch(): there is no cout=", "'count'"),
    "dotted": ("freshet.Batch(\n    cout=3,\n)", "freshet.Batch(): there is no cout=", "'count'"),
    "within": (
        'class Mine(FileSensor):\n    def __init__(self, name, **more):\n        super().__init__(name, **more)\n'
        'Mine("mine", path="in", patern="*.csv")',
        "Mine('mine'): there is no patern=",
        "'pattern'",
    ),
    "by_dict": ("Batch(**{'cout': 3})", "Batch(): there is no cout=", "'count'"),
    "condition": ("AutomationCondition.eger()", "AutomationCondition has no 'eger'", "'eager'"),
    "attribute": ("freshet.asets", "freshet has no 'asets'", "'asset"),
    "imported": ("from freshet import RunRequets", "freshet has no 'RunRequets'", "'RunRequest'"),
    "name": ("DynamicPartitons('a')", "name 'DynamicPartitons' is not defined", "'DynamicPartitions'"),
    "far": ("freshet.zzz", "AttributeError: module 'freshet' has no attribute 'zzz'", ""),
    "pattern": (
        'FileSensor("l", path="in", pattern=5, target="raw")',
        "l: pattern takes a text, not 5",
        "for example",
    ),
    "params": (
        'SqlSensor("s", url="env:X", query="SELECT 1 AS id WHERE id > :cursor ORDER BY id", '
        'params={"a": "b"}, target="raw")',
        "s: params= names fields of an item",
        "run_params={'a': 'b'}",
    ),
    "driver": (
        'SqlSensor("s", url="postgresql://me:pw@host/db", query="SELECT 1 AS id WHERE id > :cursor ORDER BY id", '
        'target="raw")',
        "s: url: a password stands in the plugin",
        'url="env:ORDERS_DB"',
    ),
    "header": (
        'HttpSensor("h", url="https://a.example", headers={"Authorization": "Bearer sekrit"}, target="raw")',
        "h: the secret of the header Authorization stands in the plugin",
        "env:NAME",
    ),
    "secret": (
        'WebhookSensor("w", path="p", secret="env:", target="raw")',
        "w: Intake('p'): secret='env:' names nothing",
        'for example "env:HOOK_SECRET"',
    ),
    "ignored": (
        'WebhookSensor("w", path="p", scheme="github", secret="env:X", header="X-Sum", target="raw")',
        "w: Intake('p'): header= is nothing to scheme='github'",
        'scheme="hmac-sha256"',
    ),
    "brace": (
        'FileSensor("l", path="in", target="raw", run_key="{nope")',
        "l: run_key='{nope' has a stray '{'",
        "a brace is",
    ),
    "february": ("Schedule('s', cron='0 0 31 2 *', target='raw')", "'0 0 31 2 *' never comes", "no month that it"),
    "thirty_second": ("Schedule('s', cron='0 0 32 2 *', target='raw')", "bad day-of-month: it is 1 to 31, or L", ""),
    "zone": ("Schedule('s', cron='@daily', timezone='CEST', target='raw')", "no time zone 'CEST'", "Europe/Berlin"),
}  # fmt: skip


def test_each_slip_is_named_with_its_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plugins").mkdir()
    for name, (source, _, _) in SLIPS.items():
        (tmp_path / "plugins" / f"{name}.py").write_text(HEAD + source + "\n")
    (tmp_path / "freshet.toml").write_text('state_dir = "state"\nplugins_dir = "plugins"\n')
    assert run(["check", "--config", str(tmp_path / "freshet.toml"), "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    for name, (source, says, hint) in SLIPS.items():
        own = [one for one in problems if Path(one["file"]).stem == name]
        found = next((one for one in own if says in one["message"]), None)
        assert found is not None, own
        assert hint in found["hint"], found
        assert 4 <= found["line"] <= 3 + len(source.splitlines()), found
        assert "flow_of" not in found["message"]
        assert "EST'" not in found["hint"]


def test_what_nobody_declares_can_be_listened_to_by_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plugins").mkdir()
    source = '@job\ndef work(): ...\nAssetSensor("a", asset="nope", target=work, partition=False)\n'
    (tmp_path / "plugins" / "one.py").write_text(HEAD + source)
    (tmp_path / "freshet.toml").write_text('state_dir = "state"\nplugins_dir = "plugins"\n')
    assert run(["check", "--config", str(tmp_path / "freshet.toml")]) == 1
    assert "no plugin declares anything that it could listen to" in capsys.readouterr().err
