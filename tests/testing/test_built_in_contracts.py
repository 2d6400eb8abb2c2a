"""The contract, kept by each sensor that ships, against its real source."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.sensors.s3_support import made
from tests.sensors.support import BATCHES
from tests.support.moto import moto_server
from tests.support.web import Said, web

from freshet import Delivery, Happened
from freshet.testing import assert_sensor_contract
from freshet_sensors import AssetSensor, HttpSensor, RunStatusSensor, S3Sensor, SqlSensor, WebhookSensor

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)


def test_http_members_of_a_list() -> None:
    members: list[dict[str, int | str]] = [{"id": number} for number in range(600)]
    with web() as server:
        server.answer = lambda _: Said(body=json.dumps(members).encode())
        feed = HttpSensor("feed", url=server.url, items="", partitions=BATCHES, target="load")
        found = assert_sensor_contract(feed, arrive=lambda: members.append({"id": "new"}))
    assert [run.partition for run in found.runs] == ["new"]


@pytest.mark.parametrize("cursor", ["/at", None])
def test_http_a_value_and_the_whole(cursor: str | None) -> None:
    state = {"at": 1}
    with web() as server:
        server.answer = lambda _: Said(body=json.dumps(state).encode())
        feed = HttpSensor("feed", url=server.url, cursor=cursor, target="load")
        found = assert_sensor_contract(feed, arrive=lambda: state.update(at=2))
    assert len(found.runs) == 1


def test_sql(tmp_path: Path) -> None:
    def put(*ids: int) -> None:
        with closing(sqlite3.connect(tmp_path / "orders.db")) as db, db:
            db.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER, at INTEGER)")
            db.executemany("INSERT INTO orders VALUES (?, ?)", [(one, one // 7) for one in ids])

    put(*range(250))
    rows = SqlSensor(
        "rows",
        url=f"sqlite:///{tmp_path / 'orders.db'}",
        query="SELECT * FROM orders WHERE at > :cursor ORDER BY at LIMIT 40",
        cursor="at",
        target="load",
        params=["id"],
    )
    found = assert_sensor_contract(rows, arrive=lambda: put(250, 999))
    assert [run.params for run in found.runs] == [{"id": 250}, {"id": 999}]


def test_webhook() -> None:
    bodies = [json.dumps({"n": number}).encode() for number in range(600)]
    deliveries = [Delivery(at, f"d{at}", body, "application/json") for at, body in enumerate([*bodies, b"{"], start=1)]
    hook = WebhookSensor("hook", path="p", scheme="none", target="note")
    found = assert_sensor_contract(hook, deliveries=deliveries)
    assert [one.outcome for one in found.deliveries] == ["admitted"] * 600 + ["rejected"]


def test_asset_and_run_status() -> None:
    made_so = [Happened(seq, NOW, "materialized", "orders", f"k{seq}", seq) for seq in range(1, 1201)]
    follow = AssetSensor("follow", asset="orders", target="copied", start="all")
    assert len(assert_sensor_contract(follow, events=made_so).runs) == 1200
    ended = [Happened(seq, NOW, "run_failed", run=seq, data={"target": "orders"}) for seq in range(1, 601)]
    tell = RunStatusSensor("tell", target="notify", start="all")
    assert len(assert_sensor_contract(tell, events=ended).runs) == 600


def test_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_KEY", "key")
    monkeypatch.setenv("S3_SECRET", "secret")
    with moto_server() as moto:
        bucket = moto.bucket("contract")

        def land(name: str) -> list[str]:
            bucket.put_object(Bucket="contract", Key=f"in/{name}.csv", Body=name.encode())
            return [f"in/{name}.csv"]

        for number in range(300):
            land(f"{number:03}")
        objects: S3Sensor = made(moto.url, bucket="contract")
        found = assert_sensor_contract(objects, arrive=lambda: land("new"))
    assert [run.partition for run in found.runs] == ["new"]
