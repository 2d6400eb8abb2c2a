"""Schedules through the daemon's own door: paused and resumed by hand, what was skipped on show, bad ones refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.daemon import Site, site_at

PLUGIN = """
import time

from freshet import Schedule, job, sensor


@job
def slow() -> None:
    time.sleep(60)


@job
def quick() -> None: ...


@sensor(interval="1h", target=quick)
async def eye(ctx): ...


often = Schedule("often", every="200ms", target=quick, misfire="skip")
crowded = Schedule("crowded", every="200ms", target=slow, overlap="skip")
"""

BAD = """
from freshet import DynamicPartitions, asset

{line}


@asset(partitions=keys)
def each() -> int:
    return 1
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path / "site", plugins={"clockwork.py": PLUGIN}, grace="1s") as made:
        yield made


def test_paused_and_resumed_by_hand(site: Site) -> None:
    daemon = site.start().ready()
    daemon.wait_until(lambda: daemon.runs("quick"), "it fires")
    assert site.cli("pause", "often").stdout == "often is paused\n"
    paused = len(daemon.runs("quick"))
    assert "often" in site.cli("status").stdout
    assert daemon.stop() == 0
    daemon = site.start().ready()

    def latest() -> float:
        return float(site.cli_json("schedules", "crowded")["history"][0]["until"])

    begun = latest()
    daemon.wait_until(lambda: latest() > begun + 0.7, "time passes")
    assert len(daemon.runs("quick")) == paused, "a restart does not end a pause"
    (shown,) = [one for one in daemon.client.schedules() if one.name == "often"]
    assert (shown.status, shown.next) == ("paused", None)
    assert site.cli("resume", "often").stdout == "often is ok\n"
    daemon.wait_until(lambda: len(daemon.runs("quick")) > paused, "it fires again")
    (shown,) = [one for one in daemon.client.schedules() if one.name == "often"]
    assert shown.last_skip is not None and shown.last_skip.reason == "misfire" and shown.last_skip.count > 3
    assert site.cli("pause", "eye").stdout == "eye is paused\n"
    unknown = site.cli("pause", "oftn")
    assert unknown.returncode != 0 and "no sensor and no schedule is called 'oftn'" in unknown.stderr
    assert "did you mean 'often'" in unknown.stderr


def test_what_was_skipped_is_on_show_among_the_sensors(site: Site) -> None:
    daemon = site.start().ready()

    def skipped() -> str | None:
        lines = site.cli("sensors").stdout.splitlines()
        return next((line for line in lines if line.startswith("crowded") and "(overlap)" in line), None)

    line = daemon.wait_until(skipped, "a tick is skipped")
    assert "schedule" in line and "slow" in line
    assert {one["kind"] for one in site.cli_json("sensors")} == {"sensor", "schedule"}
    assert site.cli_json("sensors", "crowded")["last_skip"]["reason"] == "overlap"
    assert len(daemon.runs("slow")) == 1
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('keys = DynamicPartitions("keys", keep="soon")', "keep: age: 'soon' is not a duration"),
        ('keys = DynamicPartitions("keys", keep=0)', "keep: count=0"),
    ],
)
def test_a_bad_keep_is_refused_by_check(tmp_path: Path, line: str, says: str) -> None:
    with site_at(tmp_path / "site", plugins={"bad.py": BAD.format(line=line)}) as site:
        done = site.cli("check")
        assert done.returncode == 1
        assert says in done.stderr and "bad.py:4" in done.stderr and "hint: write " in done.stderr


def test_check_warns_of_a_set_that_is_too_large_to_be_numbered_in_full(tmp_path: Path) -> None:
    plugin = """
from freshet import AutomationCondition, MultiPartitions, StaticPartitions, asset

grid = MultiPartitions(
    x=StaticPartitions([f"x{n}" for n in range(400)], name="x"), y=StaticPartitions([f"y{n}" for n in range(400)])
)


@asset(partitions=grid, automation=AutomationCondition.on_missing())
def cell() -> int:
    return 1
"""
    with site_at(tmp_path / "site", plugins={"grid.py": plugin}) as site:
        done = site.cli("check")
        assert done.returncode == 0
        assert "grid.py:4: warning: the partition set" in done.stderr and "160000 combinations" in done.stderr
