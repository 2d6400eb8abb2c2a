"""The sensors that come with Freshet, on its public names alone.

Each is loaded when its name is asked for: importing one does not cost the others' imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freshet_sensors.file import FileSensor
    from freshet_sensors.webhook import WebhookSensor

__all__ = ["FileSensor", "WebhookSensor"]

_HOME = {"FileSensor": "freshet_sensors.file", "WebhookSensor": "freshet_sensors.webhook"}


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
