"""Links between windows at the places where runs of numbers meet the edges of longer windows."""

from __future__ import annotations

from pyroaring import BitMap

from freshet.definitions.mapping import TimeWindow
from freshet.definitions.partitions import TimePartitions
from freshet.engine.partitions.links import Windowed

DAYS = TimePartitions("daily", "2026-03-28", timezone="UTC", name="days")
HOURS = TimePartitions("hourly", "2026-03-28T00:00", timezone="UTC", name="hours")


def test_a_lone_first_hour_after_another_run_has_its_day() -> None:
    link = Windowed(DAYS.windows, HOURS.windows, TimeWindow())
    assert link.above(BitMap([HOURS.first, HOURS.first + 24])) == BitMap([DAYS.first, DAYS.first + 1])
    assert link.above(BitMap([HOURS.first, HOURS.first + 23])) == BitMap([DAYS.first])
