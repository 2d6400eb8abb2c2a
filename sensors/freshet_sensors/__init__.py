"""The sensors that come with Freshet, on its public names alone.

Each is loaded when its name is asked for: importing one does not cost the others' imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freshet_sensors.asset import AssetSensor
    from freshet_sensors.file import FileSensor
    from freshet_sensors.http import HttpSensor
    from freshet_sensors.message import Message
    from freshet_sensors.pattern import KeyTemplate, Pattern
    from freshet_sensors.run_status import RunStatusSensor
    from freshet_sensors.s3 import S3Sensor
    from freshet_sensors.sql import SqlSensor
    from freshet_sensors.stream import StreamSensor
    from freshet_sensors.webhook import WebhookSensor

__all__ = [
    "AssetSensor",
    "FileSensor",
    "HttpSensor",
    "KeyTemplate",
    "Message",
    "Pattern",
    "RunStatusSensor",
    "S3Sensor",
    "SqlSensor",
    "StreamSensor",
    "WebhookSensor",
]

_HOME = {
    "AssetSensor": "freshet_sensors.asset",
    "FileSensor": "freshet_sensors.file",
    "HttpSensor": "freshet_sensors.http",
    "KeyTemplate": "freshet_sensors.pattern",
    "Message": "freshet_sensors.message",
    "Pattern": "freshet_sensors.pattern",
    "RunStatusSensor": "freshet_sensors.run_status",
    "S3Sensor": "freshet_sensors.s3",
    "SqlSensor": "freshet_sensors.sql",
    "StreamSensor": "freshet_sensors.stream",
    "WebhookSensor": "freshet_sensors.webhook",
}


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
