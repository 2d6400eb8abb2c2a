"""Many files: at once, and one after the other without a pause. Some runs of `sales`, never one for each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from tests.support.daemon import Daemon, Site

from freshet.http.models import RunAnswer

PLUGIN = """
import os
from freshet import AutomationCondition, DynamicPartitions, asset
from freshet_sensors import FileSensor

batches = DynamicPartitions("batches")
landing = FileSensor("landing", path="inbox", pattern="{batch}.txt", partitions=batches, target="raw", settle="0s")


@asset(partitions=batches)
def raw(ctx) -> int:
    with open(ctx.partition.metadata["path"]) as file:
        return int(file.read())


@asset(automation=AutomationCondition.eager(max_wait="MAX_WAIT"))
def sales(ctx, raw: dict[str, int]) -> int:
    ctx.metadata(batches=len(raw))
    return sum(raw.values())
"""
_BAD_EVERY = 100
MakeSite = Callable[..., Site]


@pytest.mark.parametrize(
    ("files", "max_wait", "within"), [(2_000, 2.0, 60.0), pytest.param(20_000, 10.0, 600.0, marks=pytest.mark.slow)]
)
def test_many_at_once(make_site: MakeSite, files: int, max_wait: float, within: float) -> None:
    """All are there in one instant, as when a folder is moved into place."""
    site = make_site(PLUGIN.replace("MAX_WAIT", f"{max_wait:g}s"))
    site.inbox.rmdir()
    full = site.folder / "full"
    full.mkdir()
    for number in range(files):
        (full / name(number)).write_text(text(number))
    daemon = site.start().ready()
    began = time.time()
    full.rename(site.inbox)
    check(site, daemon, files, began=began, max_wait=max_wait, within=within)


@pytest.mark.parametrize(
    ("files", "a_second", "max_wait"), [(120, 10.0, 2.0), pytest.param(1_200, 10.0, 10.0, marks=pytest.mark.slow)]
)
def test_without_a_pause(make_site: MakeSite, files: int, a_second: float, max_wait: float) -> None:
    """A stream that never rests cannot hold `sales` back for ever, and does not make it run for each file."""
    site = make_site(PLUGIN.replace("MAX_WAIT", f"{max_wait:g}s"))
    daemon = site.start().ready()
    began = time.time()
    for number in range(files):
        aside = site.folder / "aside"
        aside.write_text(text(number))
        os.rename(aside, site.inbox / name(number))  # noqa: PTH104
        time.sleep(max(0.0, began + (number + 1) / a_second - time.time()))  # the pace is what is tested
    check(site, daemon, files, began=began, max_wait=max_wait, within=120)


def name(number: int) -> str:
    """Of a file."""
    return f"{number:05}.txt"


def text(number: int) -> str:
    """What it holds: a number, or one in a hundred times a word."""
    return "broken" if number % _BAD_EVERY == 7 else str(number)


def check(site: Site, daemon: Daemon, files: int, *, began: float, max_wait: float, within: float) -> None:
    """Wait until all is done; `sales` has run at least once a `max_wait`, a few times in all, and adds up."""
    good = [number for number in range(files) if text(number) != "broken"]
    daemon.wait_until(lambda: covered(daemon, len(good)), "sales covers every good file", within=within)
    took = time.time() - began
    counts = daemon.client.asset("raw").counts
    assert (counts.partitions, counts.materialized, counts.failed) == (files, len(good), files - len(good))
    runs = [run for run in daemon.runs("sales") if run.started_at is not None]
    starts = sorted(run.started_at for run in runs if run.started_at is not None)
    slowest = max((run.ended_at or 0.0) - run.created_at for run in runs)  # none is asked for while one is under way
    gaps = [after - before for before, after in zip([began, *starts], starts, strict=False)]
    print(  # noqa: T201  # shown with -rP and on failure
        f"{files} files: {took:.1f} s, {len(runs)} runs of sales, gaps {[round(gap, 2) for gap in gaps]}"
    )
    assert max(gaps) < max_wait + 5 + slowest, (gaps, slowest)
    assert len(runs) <= 8 + 4 * took / max_wait, f"{len(runs)} runs in {took:.1f} s"
    assert len(daemon.runs("raw")) == files
    assert all(run.state == "succeeded" for run in runs)
    assert site.state.joinpath("values", "sales", "@", f"{runs[0].id}-1.json").read_text() == str(sum(good))
    assert daemon.stop() == 0


def covered(daemon: Daemon, good: int) -> RunAnswer | None:
    """The last run of `sales`, if it saw so many and nothing is under way."""
    runs = daemon.client.runs(target="sales", limit=1)
    if not runs or runs[0].state != "succeeded" or not daemon.idle():
        return None
    return runs[0] if runs[0].steps[0].metadata["batches"] == good else None
