"""Every sensor that ships takes what every sensor offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from freshet import Sensor
from freshet.definitions.flow import BatchSpec, Flow, ThrottleSpec
from freshet_sensors import FileSensor, HttpSensor, S3Sensor, SqlSensor, StreamSensor, WebhookSensor

EVERY: dict[str, Any] = {
    "target": "t",
    "debounce": "5s",
    "throttle": "10/min",
    "overlap": "queue",
    "run_key": "{tags.x}",
}


class Lines(StreamSensor):
    """Pushes nothing."""


def files(**flow: Any) -> Sensor:
    return FileSensor("landing", path="inbox", batch=5, params={"a": 1}, **flow)


def objects(**flow: Any) -> Sensor:
    return S3Sensor("landing", bucket="b", batch=5, params={"a": 1}, **flow)


def deliveries(**flow: Any) -> Sensor:
    return WebhookSensor("landing", path="p", scheme="none", batch=5, params={"a": 1}, **flow)


def pages(**flow: Any) -> Sensor:
    return HttpSensor("landing", url="http://localhost/", batch=5, run_params={"a": 1}, **flow)


def rows(**flow: Any) -> Sensor:
    query = "SELECT * FROM o WHERE id > :cursor ORDER BY id LIMIT 9"
    return SqlSensor("landing", connect=lambda: None, query=query, cursor="id", batch=5, run_params={"a": 1}, **flow)


def messages(**flow: Any) -> Sensor:
    return Lines("landing", run_batch=5, params={"a": 1}, **flow)


@pytest.mark.parametrize("make", [files, objects, deliveries, pages, rows, messages])
def test_it_is_carried_by_its_description(make: Callable[..., Sensor]) -> None:
    assert make(**EVERY).spec.flow == Flow(
        debounce=5.0,
        batch=BatchSpec(5, 10.0),
        throttle=ThrottleSpec(10, 60.0),
        overlap="queue",
        run_key="{tags.x}",
        params={"a": 1},
    )
