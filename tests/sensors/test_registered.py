"""Every sensor that ships is registered, and costs the process that loads plugins next to nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import freshet_sensors
from freshet import Sensor

NAMES = [name for name in freshet_sensors.__all__ if name.endswith("Sensor")]
HEAVY = ["asyncio", "ssl", "httpx", "sqlalchemy", "orjson", "aioboto3", "botocore", "watchfiles", "anyio", "ctypes"]


def test_every_sensor_is_registered() -> None:
    registered = {entry.load() for entry in entry_points(group="freshet.sensors")}
    assert registered == {getattr(freshet_sensors, name) for name in NAMES}
    assert all(issubclass(one, Sensor) for one in registered)


@pytest.mark.parametrize("name", freshet_sensors.__all__)
def test_loading_one_brings_nothing_heavy(name: str) -> None:
    brought = f"sorted(set({HEAVY}) & set(sys.modules) - before)"
    code = f"import sys, freshet; before = set(sys.modules); from freshet_sensors import {name}; print({brought})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
