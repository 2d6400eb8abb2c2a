"""Checks in real workers: what they are given, and what is heard of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.executors.hosting import Hosting, hosting

from freshet.io import write_value
from freshet.store.records import CheckEnd, ValueRef

pytestmark = pytest.mark.anyio

PLUGIN = """
import os, time
from freshet import CheckResult, asset, check, resource

@resource
def limits():
    yield {"most": 5}

@asset
def sales():
    return 3

@check(asset=sales, blocking=True)
def small(ctx, sales: int, limits):
    ctx.log.info("looking", asset=ctx.asset)
    return CheckResult(sales < limits["most"], metadata={"sales": sales}, severity="warn")

@check(asset=sales)
def dies() -> bool:
    os._exit(3)

@check(asset=sales, timeout="200ms")
def hangs() -> bool:
    time.sleep(60)

@check(asset=sales)
def mute():
    ...
"""


def kept(site: Hosting, value: object) -> dict[str, dict[str | None, ValueRef]]:
    folder = site.state_dir / "values"
    ref = write_value(value, values_dir=folder, asset="sales", partition_key=None, run_id=1, attempt=1, io=None)
    return {"sales": {None: ValueRef(ref.path, ref.io, ref.size, ref.digest)}}


async def test_a_check_says_what_it_found_of_the_value_that_is_there(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        for value in (3, 7):
            end = await site.run("sales.small", kind="check", inputs=kept(site, value))
            assert (end.outcome, end.value, end.metadata) == ("succeeded", None, {"sales": value})
            assert end.check == CheckEnd(passed=value < 5, severity="warn", blocking=True)


@pytest.mark.parametrize(
    ("name", "outcome", "words"),
    [
        ("dies", "died", "exit status 3"),
        ("hangs", "failed", "200ms"),
        ("mute", "failed", "says neither yes nor no"),
        ("small", "failed", "which has no value"),
    ],
)
async def test_a_check_that_cannot_say_has_failed(tmp_path: Path, name: str, outcome: str, words: str) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        end = await site.run(f"sales.{name}", kind="check")
        assert (end.outcome, end.check) == (outcome, None)
        assert end.error is not None and words in end.error.message
