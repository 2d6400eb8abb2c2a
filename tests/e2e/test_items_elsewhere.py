"""One item of a `ctx.map` is ended in steps that do not run in a worker of their own, and the others go on.

In a cluster: see `test_dask`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.daemon import Daemon, Site

from freshet.http.models import CallBody

PLUGIN = """
import asyncio, time
from pathlib import Path
from freshet import Process, job

def wait(item):
    while not Path(f"go-{item}").exists():
        time.sleep(0.01)
    return item

def told(found):
    print(*(type(one).__name__ for one in found))

@job(executor="inline")
async def inline(ctx):
    told(await ctx.map(wait, ["a", "b"], limit=2, raising=False))

@job(executor="detached")
def detached(ctx):
    told(ctx.map(wait, ["a", "b"], limit=2, raising=False))

@job(executor=Process(reuse=True))
def reused(ctx):
    told(ctx.map(wait, ["a", "b"], limit=2, raising=False))
"""
MakeSite = Callable[..., Site]


def _begin(daemon: Daemon, job: str) -> int:
    (number,) = daemon.client.call(job, CallBody()).runs
    daemon.wait_until(lambda: _states(daemon, number) == ["running", "running"], "both are at work")
    return number


def _states(daemon: Daemon, number: int) -> list[str]:
    return [one.state for call in daemon.client.items(number, None, 10) for one in call.items]


def _cancel_the_first(site: Site, daemon: Daemon, number: int) -> None:
    done = site.cli("items", str(number), "--cancel", "0")
    assert done.returncode == 0, done.stderr
    daemon.wait_until(lambda: _states(daemon, number) == ["canceled", "running"], "one is ended")
    Path(site.folder, "go-b").touch()
    daemon.wait_until(lambda: daemon.client.run(number).state == "succeeded", "the run succeeds")
    assert _states(daemon, number) == ["canceled", "succeeded"]
    assert "ItemsFailed str" in site.cli("logs", str(number)).stdout


@pytest.mark.parametrize("executor", ["inline", "detached", "reused"])
def test_one_item_is_canceled(make_site: MakeSite, executor: str) -> None:
    site = make_site(PLUGIN)
    daemon = site.start().ready()
    _cancel_the_first(site, daemon, _begin(daemon, executor))
    assert daemon.stop() == 0


def test_one_item_of_an_adopted_step_is_canceled(make_site: MakeSite) -> None:
    site = make_site(PLUGIN)
    first = site.start().ready()
    number = _begin(first, "detached")
    first.kill()
    second = site.start().ready()
    _cancel_the_first(site, second, number)
    assert second.stop() == 0
