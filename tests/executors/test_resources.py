"""Resources in real workers: opened when asked for, handed over by name, closed at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.executors.hosting import Hosting, hosting

pytestmark = pytest.mark.anyio

PLUGIN = """
import asyncio, os
from pathlib import Path
from pydantic import BaseModel
from pydantic_settings import BaseSettings, SettingsConfigDict
import freshet
from freshet import Process, asset, job, resource

def note(text):
    with open("notes", "a") as file:
        file.write(text + "\\n")

class Where(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="WAREHOUSE_")
    dsn: str = "default"

@resource
def pool(where: Where, size: int = 2):
    note(f"open pool {where.dsn} {size} {os.getpid() == os.getsid(0)}")
    yield [where.dsn]
    note("close pool")

@resource
def warehouse(pool):
    note("open warehouse")
    yield pool + ["warehouse"]
    note("close warehouse")

@resource(name="plain")
def plainly():
    return 7

@resource
async def later():
    await asyncio.sleep(0)
    return asyncio.get_running_loop()

@resource
async def session():
    loop = asyncio.get_running_loop()
    note("open session")
    yield loop
    note(f"close session {asyncio.get_running_loop() is loop}")

@asset
def upstream():
    return 1

@asset
def uses(upstream, warehouse, plain, ctx):
    note("run")
    return [upstream, warehouse, plain]

@asset(env={"WAREHOUSE_DSN": "other"})
def elsewhere(pool):
    return pool

@job
def pays(plain, amount: int):
    assert (plain, amount) == (7, 3)

@job
async def on_its_loop(session, later):
    assert asyncio.get_running_loop() is session is later

@asset
def sync_with_async(session):
    return session is not None

@resource
def refuses():
    raise ConnectionError("not there")

@resource
def spoils():
    yield 1
    raise OSError("cannot commit")

@resource
def twice():
    yield 1
    yield 2

@asset
def refused(refuses):
    return 1

@asset
def spoilt(spoils):
    return spoils

@asset
def spoilt_and_wrong(pool, spoils):
    raise ValueError("mine")

@asset
def twofold(twice):
    return twice

@job(executor=Process(reuse=True))
def kept(pool, spoils):
    note(f"kept {os.getpid()}")
"""


TWICE = "the resource 'twice' yields twice (what comes after its one yield closes it)"


def notes(tmp_path: Path) -> list[str]:
    return (tmp_path / "notes").read_text().splitlines()


async def test_they_are_handed_over_by_name_and_closed_in_reverse(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        first = await site.asset("upstream")
        assert first.value is not None
        end = await site.asset("uses", inputs={"upstream": {None: first.value}})
        assert site.value(end) == [1, ["default", "warehouse"], 7]
        assert notes(tmp_path) == [
            "open pool default 2 True",
            "open warehouse",
            "run",
            "close warehouse",
            "close pool",
        ]
        assert site.value(await site.asset("elsewhere")) == ["other"]
        assert (await site.run("pays", params={"amount": 3})).outcome == "succeeded"
        refused = await site.run("pays", params={"amount": 3, "plain": 8})
        assert refused.error is not None
        assert "there is no parameter 'plain'" in refused.error.message


async def test_async_ones_live_on_the_loop_of_the_step(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        assert (await site.run("on_its_loop")).outcome == "succeeded"
        assert site.value(await site.asset("sync_with_async")) is True
        assert notes(tmp_path) == ["open session", "close session True"] * 2


@pytest.mark.parametrize(
    ("name", "kind", "said", "noted"),
    [
        ("refused", "ConnectionError", "not there", "while opening the resource 'refuses'"),
        ("spoilt", "OSError", "cannot commit", "while closing the resource 'spoils'"),
        ("spoilt_and_wrong", "ValueError", "mine", "closing the resource 'spoils' failed: OSError: cannot commit"),
        (
            "twofold",
            "ResourceError",
            "the resource 'twice' yields twice (what comes after its one yield closes it)",
            "",
        ),
    ],
)
async def test_what_they_raise_is_an_error_of_the_step(
    tmp_path: Path, name: str, kind: str, said: str, noted: str
) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        end = await site.asset(name)
        assert end.error is not None
        assert (end.outcome, end.value, end.error.type, end.error.message) == ("failed", None, kind, said)
        assert noted in end.error.traceback
        if name == "spoilt_and_wrong":
            assert notes(tmp_path)[-1] == "close pool"


async def test_a_kept_worker_opens_them_once(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN, workers=1) as site:
        await _run_twice(site)
        seen = notes(tmp_path)
        assert seen[:1] == ["open pool default 2 True"]
        assert len({one for one in seen if one.startswith("kept")}) == 1
        assert sum(one.startswith("open") for one in seen) == 1


async def _run_twice(site: Hosting) -> None:
    for _ in range(2):
        assert (await site.run("kept")).outcome == "succeeded"
