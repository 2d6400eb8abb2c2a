"""How much the database grows with each tick: what README says of a million."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import Report, RunRequest, asset, job, sensor

pytestmark = pytest.mark.anyio

TICKS = 1_000


@job
async def touch() -> None: ...


@asset
def made() -> None: ...


@sensor(interval="1s")
def idle(ctx: Any) -> None:
    """Finds nothing."""


@sensor(interval="1s")
def moving(ctx: Any) -> None:
    """Its cursor moves."""
    ctx.cursor = (ctx.cursor or 0) + 1


@sensor(interval="1s")
def reporting(ctx: Any) -> Any:
    """An asset is said to be made."""
    ctx.cursor = (ctx.cursor or 0) + 1
    yield Report("made")


@sensor(interval="1s", target=touch)
def asking(ctx: Any) -> Any:
    """A run with a key, which succeeds."""
    ctx.cursor = (ctx.cursor or 0) + 1
    yield RunRequest(run_key=f"a key of usual length {ctx.cursor}")


async def _size(one: Rig) -> int:
    """Bytes in use."""
    pages: Any = await one.store.read(
        lambda db: [db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "freelist_count")]
    )
    return int(pages[0] - pages[1]) * 4096


@pytest.mark.parametrize(
    ("looks", "most"),
    [
        pytest.param(idle, 0, id="idle"),
        pytest.param(moving, 100, id="moving"),
        pytest.param(reporting, 250, id="reporting"),
        pytest.param(asking, 600, id="asking"),
    ],
)
async def test_bytes_a_tick(tmp_path: Path, looks: Any, most: int) -> None:
    """At most so many; of a look that finds nothing, none at all."""
    async with rig(tmp_path, [looks, touch, made]) as one:
        await one.advance(200)
        before = await _size(one)
        await one.advance(TICKS)
        grown = (await _size(one) - before) / TICKS
        print(f"{grown:.0f} bytes a tick")  # noqa: T201  # the figure
        assert grown <= most
