"""What the tests of the S3 sensor share: a sensor on a service, with patience that costs no time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.fake_s3 import FakeS3

from freshet import DynamicPartitions
from freshet_sensors import S3Sensor
from freshet_sensors.s3_list import Patience
from freshet_sensors.s3_look import Look

OBJECTS = DynamicPartitions("objects")
CANARY = "canary-secret-4711"


def quick(monkeypatch: pytest.MonkeyPatch, *, retries: int = 3) -> None:
    """Waits between tries take no time to speak of."""

    def patience(_: Look) -> Patience:
        return Patience(retries, 0.0001, 0.001)

    monkeypatch.setattr(Look, "patience", patience)
    monkeypatch.setenv("S3_KEY", "AKIACANARY")
    monkeypatch.setenv("S3_SECRET", CANARY)


def made(url: str, **options: Any) -> S3Sensor:
    """The usual sensor, with some options of its own."""
    defaults: dict[str, Any] = {
        "bucket": "lake",
        "endpoint_url": url,
        "region": "us-east-1",
        "access_key": "env:S3_KEY",
        "secret_key": "env:S3_SECRET",
        "pattern": "**/{name}.csv",
        "key": "{name}",
        "partitions": OBJECTS,
        "target": "raw",
    }
    return S3Sensor("landing", **(defaults | options))


@asynccontextmanager
async def sensor(service: FakeS3 | str, **options: Any) -> AsyncGenerator[S3Sensor]:
    """A sensor that is closed in the end."""
    one = made(service if isinstance(service, str) else service.url, **options)
    try:
        yield one
    finally:
        await one.close()
