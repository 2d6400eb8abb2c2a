"""The contract that a sensor keeps: those that keep it pass, and each way of breaking it is named."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from freshet import DynamicPartitions, RunRequest, Sensor, sensor
from freshet.testing import assert_imports_quietly, assert_sensor_contract
from freshet_sensors import FileSensor

BUILT_IN = ("asset", "file", "http", "run_status", "s3", "sql", "stream", "webhook")


def test_the_file_sensor_keeps_it(tmp_path: Path) -> None:
    def land(name: str) -> list[str]:
        (tmp_path / f"{name}.part").write_text(name)
        (tmp_path / f"{name}.part").replace(tmp_path / name)
        return [name]

    for number in range(600):
        land(f"{number}.csv")
    batches = DynamicPartitions("batches")
    landing = FileSensor("landing", path=tmp_path, pattern="{batch}.csv", partitions=batches, target="raw", settle="0s")
    found = assert_sensor_contract(landing, arrive=lambda: land("new.csv"))
    assert [run.partition for run in found.runs] == ["new"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_importing_a_built_in_one_does_no_work(name: str) -> None:
    assert_imports_quietly(f"freshet_sensors.{name}")


def test_a_module_that_works_when_it_is_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noisy_plugin.py").write_text("import socket\nsocket.create_connection(('127.0.0.1', 9))\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(AssertionError, match="at import"):
        assert_imports_quietly("noisy_plugin")


def items(*, skips: bool = False, repeats: bool = False, dry: bool = True, grows: bool = False) -> Sensor:
    looks: list[int] = []

    @sensor
    async def source(ctx: Any) -> AsyncIterator[RunRequest]:
        looks.append(1)
        start = 0 if repeats else ctx.cursor or 0
        for number in range(start, 3):
            if skips:
                ctx.cursor = 3
            yield RunRequest(run_key=f"{number}{len(looks) if grows else ''}{'' if dry or not ctx.dry_run else 'd'}")
            if not skips:
                ctx.cursor = number + 1
            await ctx.checkpoint()

    return source


def test_one_that_keeps_it_passes() -> None:
    assert [run.run_key for run in assert_sensor_contract(items()).runs] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda: items(skips=True), "checkpoint"),
        (lambda: items(repeats=True), "second look"),
        (lambda: items(dry=False), "dry run"),
        (lambda: items(grows=True), "lost"),
    ],
)
def test_each_way_of_breaking_it_is_named(broken: Callable[[], Sensor], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        assert_sensor_contract(broken())


def test_hints_that_say_more_than_a_full_look_are_named() -> None:
    @sensor
    def source(ctx: Any) -> Iterable[RunRequest]:
        return [RunRequest(run_key=hint) for hint in ctx.hints or ()]

    with pytest.raises(AssertionError, match="more than a full one"):
        assert_sensor_contract(source, arrive=lambda: ["x"])


def test_a_cursor_that_json_would_change_is_named() -> None:
    @sensor
    def source(ctx: Any) -> None:
        ctx.cursor = {1: "a"}

    with pytest.raises((AssertionError, ValueError)):
        assert_sensor_contract(source)
