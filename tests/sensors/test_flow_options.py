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


@pytest.mark.parametrize(
    "make",
    [
        lambda **flow: FileSensor("landing", path="inbox", batch=5, params={"a": 1}, **flow),
        lambda **flow: S3Sensor("landing", bucket="b", batch=5, params={"a": 1}, **flow),
        lambda **flow: WebhookSensor("landing", path="p", scheme="none", batch=5, params={"a": 1}, **flow),
        lambda **flow: HttpSensor("landing", url="http://localhost/", batch=5, run_params={"a": 1}, **flow),
        lambda **flow: SqlSensor(
            "landing",
            connect=lambda: None,
            query="SELECT * FROM o WHERE id > :cursor ORDER BY id LIMIT 9",
            cursor="id",
            batch=5,
            run_params={"a": 1},
            **flow,
        ),
        lambda **flow: Lines("landing", run_batch=5, params={"a": 1}, **flow),
    ],
    ids=["file", "s3", "webhook", "http", "sql", "stream"],
)
def test_it_is_carried_by_its_description(make: Callable[..., Sensor]) -> None:
    assert make(**EVERY).spec.flow == Flow(
        debounce=5.0,
        batch=BatchSpec(5, 10.0),
        throttle=ThrottleSpec(10, 60.0),
        overlap="queue",
        run_key="{tags.x}",
        params={"a": 1},
    )
