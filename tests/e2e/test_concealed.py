"""Secrets of hooks, sensors, resources and plugin settings, which a careless plugin shows wherever it can: nothing that
a daemon writes or answers has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.daemon import Site, site_at

SECRETS = {
    "ORDERS_TOKEN": "tok-3f9a'\"\\é-settings",
    "ORDERS_HOOK": "hook-77b1-secret",
    "LAKE_KEY": "AKIA-5d20-key",
    "LAKE_SECRET": "lake-0c44-secret",
}
FILE_SECRET = "file-91e7-secret"

PLUGIN = """
import logging, os, subprocess, sys
from pydantic import BaseModel, SecretStr
from freshet import asset, job, resource, sensor, settings
from freshet_sensors import S3Sensor, WebhookSensor

class Orders(BaseModel):
    token: SecretStr
    dsn: SecretStr
    batch: int = 1

ORDERS = settings("orders", Orders)
TOKEN, DSN = ORDERS.token.get_secret_value(), ORDERS.dsn.get_secret_value()
print("loading with", TOKEN, ORDERS)

@resource
def warehouse():
    if settings("orders", Orders).batch:
        raise ConnectionError(f"cannot reach postgres://me:{DSN}@host")

@asset
def stored(warehouse): ...

@job
def loud(ctx):
    print("printed", TOKEN)
    sys.stderr.write(f"written {DSN}\\n")
    os.write(1, f"raw {TOKEN}\\n".encode())
    subprocess.run(["echo", "echoed", DSN])
    ctx.log.info(f"logged {TOKEN}", field=DSN, nested={"deep": [TOKEN]})
    logging.getLogger("lib").warning("library %s", TOKEN)
    ctx.metadata(url=f"https://me:{DSN}@host")
    try:
        raise ValueError(TOKEN)
    except ValueError as error:
        raise RuntimeError(f"failed with {DSN}") from error

@sensor(interval="200ms", target=loud)
def prattling(ctx):
    print("prattling", TOKEN)
    ctx.log.warning(f"looking with {TOKEN}", dsn=DSN)
    raise LookupError(f"no answer for {TOKEN} at {DSN}")

lake = S3Sensor("lake", bucket="lake", endpoint_url="http://127.0.0.1:9", region="us-east-1",
    access_key="env:LAKE_KEY", secret_key="env:LAKE_SECRET", target="loud", interval="200ms")
hook = WebhookSensor("hook", path="orders", scheme="bearer", secret="env:ORDERS_HOOK", target="loud")
"""

SHOWN = ("status", "assets", "sensors", "schedules", "runs", "plugins", "queue", "partitions", "inbox", "backfills")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "dsn").write_text(FILE_SECRET + "\n")
    with site_at(tmp_path / "site", plugins={"careless.py": PLUGIN}, env=SECRETS) as made:
        table = f'[plugins.orders]\ntoken = "env:ORDERS_TOKEN"\ndsn = "file:{tmp_path / "dsn"}"\n'
        made.config.write_text(made.config.read_text() + table)
        yield made


def _forms() -> set[str]:
    plain = {*SECRETS.values(), FILE_SECRET}
    return plain | {json.dumps(one, ensure_ascii=way)[1:-1] for one in plain for way in (True, False)}


def _assert_hidden(text: str, where: str) -> None:
    for one in _forms():
        at = text.find(one)
        assert at < 0, f"{where} shows {one!r}: {text[max(0, at - 200) : at + 100]}"


def _answers(client: Any) -> Iterator[tuple[str, str]]:
    """Of every GET that needs no more than a name, and of the run's own."""
    document = client.get("/api/v1/openapi.json").json()
    names = {"run_id": "1", "run": "1", "asset": "stored", "sensor": "prattling", "name": "loud", "job": "loud"}
    for path, ways in document["paths"].items():
        if "get" not in ways or path.endswith(("/events", "/follow")):
            continue
        for key, value in names.items():
            path = path.replace("{" + key + "}", value)
        yield path, client.get(path, timeout=30).text


def test_nothing_shows_them(site: Site) -> None:
    daemon = site.start().ready()
    for argv in (("call", "loud"), ("materialize", "stored")):
        done = site.cli(*argv, "--wait")
        assert done.returncode == 1
        _assert_hidden(done.stdout + done.stderr, " ".join(argv))
    address = re.search(r"http=(http://\S+)", daemon.log_text())
    assert address is not None
    url = f"{address[1]}/hooks/orders"
    assert httpx.post(url, json={}, headers={"Authorization": f"Bearer {SECRETS['ORDERS_HOOK']}"}).status_code == 202
    assert httpx.post(url, json={}, headers={"Authorization": "Bearer wrong"}).status_code == 401
    failing = ("prattling", "lake")
    daemon.wait_until(
        lambda: all(one.last_error for one in daemon.client.sensors() if one.name in failing),
        "both sensors have failed",
    )
    daemon.wait_until(lambda: len(daemon.runs("loud")) == 2 and daemon.idle(), "the delivery has run")
    transport = httpx.HTTPTransport(uds=str(site.state / "freshet.sock"))
    with httpx.Client(transport=transport, base_url="http://freshet") as client:
        answers = dict(_answers(client))
    assert len(answers) > 10
    for path, text in answers.items():
        _assert_hidden(text, path)
    for words in (*SHOWN, "logs 1", "runs 1", "logs 2", "why stored", "check"):
        for more in ((), ("--json",)):
            done = site.cli(*words.split(), *more)
            _assert_hidden(done.stdout + done.stderr, " ".join((words, *more)))
    journal = (site.state / "runs" / "1" / "journal.jsonl").read_text()
    for said in (
        "printed **********",
        "written **********",
        "raw **********",
        "echoed **********",
        "logged **********",
    ):
        assert said in journal
    assert "failed with **********" in journal
    assert "looking with **********" in site.log_text()
    assert daemon.stop() == 0
    _assert_hidden(site.log_text(), "the log")
    for file in site.folder.rglob("*"):
        if file.is_file():
            _assert_hidden(file.read_bytes().decode("utf-8", "replace"), str(file))


def test_check_names_what_is_wrong_and_shows_nothing(site: Site) -> None:
    text = site.config.read_text()
    site.config.write_text(text + 'batch = "many"\nbatsh = "env:ORDERS_TOKEN"\n')
    line = text.count("\n") + 1
    for more in ((), ("--json",)):
        done = site.cli("check", *more)
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert f"freshet.toml:{line}: plugins.orders.batch: input should be a valid integer" in said
        assert f"freshet.toml:{line + 1}: plugins.orders.batsh: unknown key" in said
        _assert_hidden(said, "freshet check")
    site.config.write_text(text.replace('"env:ORDERS_TOKEN"', '"hush-hush-hush"'))
    done = site.cli("check")
    assert done.returncode == 1
    assert "the secret itself stands in the configuration" in done.stderr
    assert "hush-hush-hush" not in done.stdout + done.stderr
