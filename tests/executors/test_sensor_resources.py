"""Resources in a real evaluator: opened by the look that needs them first, for all, and closed at its end."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from tests.executors.hosting import Hosting, hosting

from freshet import DefinitionError, RunRequest, Sensor, job, resource, sensor
from freshet.executors.base import TickEnd, TickOrder
from freshet.host.describe import catalog
from freshet.testing import tick

pytestmark = pytest.mark.anyio

PLUGIN = """
import asyncio
from pathlib import Path
from freshet import Sensor, resource, sensor

def note(text):
    with open("notes", "a") as file:
        file.write(text + "\\n")

@resource
def pool():
    note("open pool")
    yield ["pool"]
    note("close pool")

@resource
async def session(pool):
    note("open session")
    yield (pool, asyncio.get_running_loop())
    note("close session")

@resource
def refuses():
    if not Path("there").exists():
        raise ConnectionError("not there")
    return "there"

@sensor(interval="1h")
async def by_name(ctx, pool, *, session, other="its own"):
    assert asyncio.get_running_loop() is session[1]
    ctx.cursor = [pool, session[0] is pool, other, sorted(ctx.resources)]

@sensor(interval="1h")
def in_a_thread(ctx, pool):
    ctx.cursor = pool

@sensor(interval="1h")
def refused(ctx, refuses):
    ctx.cursor = refuses

class Whole(Sensor):
    resources = ("pool",)

    def evaluate(self, ctx):
        ctx.cursor = ctx.resources["pool"]

whole = Whole("whole", interval="1h")
"""

_ticks = itertools.count(1)


async def look(site: Hosting, name: str) -> TickEnd:
    """One look, to its end."""
    number = next(_ticks)
    site.host.tick(TickOrder(number, name, None, 0, None, 0.0, 60.0))
    for _ in range(3000):
        for end in site.answers.ticks:
            if end.tick_id == number:
                return end
        await asyncio.sleep(0.01)
    raise AssertionError(f"the look at {name} never ended")


async def test_they_are_opened_once_and_an_error_is_the_looks_alone(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        failed = await look(site, "refused")
        assert (failed.status, failed.error and failed.error.type) == ("failed", "ConnectionError")
        assert failed.error is not None and "while opening the resource 'refuses'" in (failed.error.traceback or "")
        ends = [await look(site, name) for name in ("by_name", "in_a_thread", "whole", "by_name")]
        named = [["pool"], True, "its own", ["pool", "session"]]
        assert [end.cursor for end in ends] == [named, ["pool"], ["pool"], named]
        (tmp_path / "there").touch()
        assert (await look(site, "refused")).cursor == "there"
        notes = tmp_path / "notes"
        assert notes.read_text().splitlines() == ["open pool", "open session"]
    assert notes.read_text().splitlines()[2:] == ["close session", "close pool"]


def test_one_that_is_not_there_is_named() -> None:
    @resource
    def warehouse() -> int:
        return 1

    @sensor
    def polls(ctx: Any, warehous: int) -> None: ...

    (problem,) = catalog([warehouse, polls], version="1").problems
    assert problem["message"] == "sensor polls: there is no resource 'warehous'"
    assert "warehouse" in problem["hint"] and problem["line"] == polls.function.__code__.co_firstlineno
    (problem,) = catalog([polls], version="1").problems
    assert problem["hint"] == "declare one: @resource above def warehous()"
    with pytest.raises(DefinitionError, match="is called with ctx alone"):
        sensor(lambda: None)


def test_a_test_gives_its_own() -> None:
    @job
    def load() -> None: ...

    @sensor(target=load)
    def polls(ctx: Any, warehouse: list[str]) -> Any:
        return [RunRequest("load", run_key=key) for key in warehouse]

    class Whole(Sensor):
        resources = ("warehouse",)

        def evaluate(self, ctx: Any) -> Any:
            return [RunRequest("load", run_key=key) for key in ctx.resources["warehouse"]]

    for one in (polls, Whole("whole")):
        assert tick(one, resources={"warehouse": ["a", "b"]}).run_keys == ["a", "b"]
