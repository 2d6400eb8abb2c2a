"""What the sensors are made of, and what loading them costs the process that loads plugins."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import freshet
import freshet_sensors

SOURCES = sorted(Path(freshet_sensors.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_they_stand_on_the_public_names_alone(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "freshet":
            assert node.module == "freshet"
            assert {name.name for name in node.names} <= set(freshet.__all__)
        if isinstance(node, ast.Import):
            assert not any(name.name.partition(".")[0] == "freshet" for name in node.names)


def test_they_are_registered_as_a_stranger_s_would_be() -> None:
    (file,) = entry_points(group="freshet.sensors", name="file")
    assert file.load() is freshet_sensors.FileSensor
    (s3,) = entry_points(group="freshet.sensors", name="s3")
    assert s3.load() is freshet_sensors.S3Sensor


@pytest.mark.parametrize("sensor", ["FileSensor", "S3Sensor"])
def test_what_the_help_of_a_sensor_points_to_is_there(sensor: str) -> None:
    told = getattr(freshet_sensors, sensor).__doc__
    for name in ("Pattern", "KeyTemplate"):
        assert f"freshet_sensors.{name}" in told
        assert getattr(freshet_sensors, name).__doc__
    assert "`**/{name}.csv`" in str(freshet_sensors.Pattern.__doc__)


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'FolderSensor'"):
        getattr(freshet_sensors, "Folder" + "Sensor")


def test_loading_one_brings_nothing_heavy() -> None:
    """The process that loads plugins is forked from, and stays small: no loop, no threads, no foreign library."""
    code = (
        "import sys; from freshet_sensors import FileSensor, S3Sensor\n"
        "heavy = {'asyncio', 'ctypes', 'watchfiles', 'anyio', 'concurrent.futures', 'botocore'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
