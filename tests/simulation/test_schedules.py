"""Schedules in virtual time: over a clock change, with bodies, with more work than slots; the same each time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.simulation.folder import folder_at

DAYS = """
from freshet import Schedule, TimePartitions, asset, job, schedule

hours = TimePartitions("hourly", start="2026-03-01", name="hours")
days = TimePartitions("daily", start="2026-03-01", name="days")

@asset(partitions=hours)
def visits(): 1 / 0

@asset(partitions=days)
def takings(): 1 / 0

@job
def mail(ctx): 1 / 0

Schedule("hourly", cron="0 * * * *", target=visits)
Schedule("nightly", cron="30 2 * * *", target=takings)
"""

BODIES = """
from freshet import RunRequest, asset, schedule

@asset
def sales(): return 1

@schedule(cron="0 6 * * *", target=sales)
def asks_with_target(ctx):
    raise SystemExit("user code ran")

@schedule(cron="0 7 * * *")
def asks(ctx):
    raise SystemExit("user code ran")
    yield RunRequest("sales")
"""

CROWD = """
from freshet import Schedule, asset

@asset(overlap="allow")
def slow(): return 1

for number in range(5):
    Schedule(f"at-noon-{number}", cron="0 12 * * *", target=slow)
"""


def test_hours_and_nights_over_both_clock_changes(tmp_path: Path) -> None:
    folder = folder_at(tmp_path, days=DAYS)
    spring = folder.entries("--from", "2026-03-29", "--until", "2026-03-30")
    hourly = [one["at"] for one in spring if one["kind"] == "tick" and one["name"] == "hourly"]
    assert hourly == [
        *(f"2026-03-29T0{hour}:00:00+01:00" for hour in (0, 1)),
        *(f"2026-03-29T{hour:02}:00:00+02:00" for hour in range(3, 24)),
    ]
    nightly = [one["at"] for one in spring if one["kind"] == "tick" and one["name"] == "nightly"]
    assert nightly == ["2026-03-29T03:00:00+02:00"], "the removed 02:30 comes at the shift"
    made = [one["partition"] for one in spring if one["kind"] == "succeeded" and one["name"] == "visits"]
    assert made[1:4] == ["2026-03-29T00:00+01:00", "2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00"]
    autumn = folder.entries("--from", "2026-10-25", "--until", "2026-10-26")
    ticks = Counter(one["name"] for one in autumn if one["kind"] == "tick")
    assert ticks == {"hourly": 25, "nightly": 1}, "25 hours; 02:30 once"
    made = [one["partition"] for one in autumn if one["kind"] == "succeeded" and one["name"] == "visits"]
    assert made[2:5] == ["2026-10-25T01:00+02:00", "2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"]
    assert not [one for one in spring + autumn if one["kind"] == "skipped"]


@pytest.mark.slow
def test_a_year_misses_nothing(tmp_path: Path) -> None:
    summary = folder_at(tmp_path, days=DAYS).entries("--from", "2026-04-01", "--until", "2027-04-01")[-1]
    assert summary["ticks"] == {"hourly": 365 * 24, "nightly": 365}
    assert summary["skipped"] == {}
    assert summary["runs"]["visits"] == {"runs": 365 * 24 - 1, "seconds": 365 * 24 - 1}
    assert (summary["from"], summary["until"]) == ("2026-04-01T00:00:00+02:00", "2027-04-01T00:00:00+02:00")


def test_a_body_is_not_run_and_its_schedule_is_told(tmp_path: Path) -> None:
    told = folder_at(tmp_path, bodies=BODIES).entries("--from", "2026-05-01", "--until", "1d")
    assert [one["detail"] for one in told if one["kind"] == "note"] == [
        "bodies of schedules are user code and are not run: asks, asks_with_target"
    ]
    ticks = [(one["name"], one.get("detail")) for one in told if one["kind"] == "tick"]
    assert ticks == [("asks_with_target", None), ("asks", "asks its body")]
    assert [one["name"] for one in told if one["kind"] == "succeeded"] == ["sales"]


def test_what_exceeds_the_slots_waits(tmp_path: Path) -> None:
    folder = folder_at(tmp_path, crowd=CROWD, workers=2)
    told = folder.entries("--from", "2026-05-01", "--until", "1d", "--duration", "slow=10m")
    noon = "2026-05-01T12:00:00+02:00"
    assert [one["at"] for one in told if one["kind"] == "queued"] == [noon] * 3
    ended = [one["at"][11:16] for one in told if one["kind"] == "succeeded"]
    assert ended == ["12:10", "12:10", "12:20", "12:20", "12:30"]
    assert told[-1]["longest_queue"] == {"count": 3, "at": noon}
    assert told[-1]["busiest_minute"] == {"count": 2, "at": noon}


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_two_runs_print_the_same(tmp_path: Path, form: tuple[str, ...]) -> None:
    folder = folder_at(tmp_path, days=DAYS, crowd=CROWD, bodies=BODIES)
    span = ("--from", "2026-10-24", "--until", "3d", *form)
    first, second = (folder.simulate(*span, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert first.stdout.count("\n") > 300
