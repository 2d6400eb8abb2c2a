"""Runs that are filled in from a sample are those that would be worked out anew."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from freshet import DynamicPartitions, Schedule, StaticPartitions, TimePartitions, asset, job
from freshet.definitions.graph import Definitions
from freshet.definitions.schedule import ScheduleSpec
from freshet.engine.requests import scheduled_runs
from freshet.engine.schedules.samples import Samples
from freshet.host.describe import catalog

_BEGIN = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


def _definitions() -> Definitions:
    @job(tags={"team": "a"}, priority=2)
    def note(word: str = "") -> None: ...

    @job
    def other() -> None: ...

    @asset(tags={"kind": "plain"}, priority=1)
    def plain() -> int:
        return 1

    @asset(partitions=TimePartitions("daily", start="2026-02-01"))
    def daily() -> int:
        return 1

    @asset(partitions=StaticPartitions(["x", "y"]))
    def each() -> int:
        return 1

    @asset(partitions=DynamicPartitions("keys"))
    def dynamic() -> int:
        return 1

    targets = [note, other, plain, daily, each, dynamic]
    schedules = [
        Schedule(f"s{number}", cron="0 0 * * *", target=targets[number % len(targets)], params=params)
        for number, params in enumerate([None] * 7 + [{"word": "b"}] * 6)
    ]
    return catalog([*targets, *schedules], version="v").definitions.resolved("UTC")


_DEFINITIONS = _definitions()


@settings(deadline=None)
@given(asked=st.lists(st.tuples(st.sampled_from(_DEFINITIONS.schedules), st.integers(0, 3)), max_size=20))
def test_a_sample_says_what_the_definitions_say(asked: list[tuple[ScheduleSpec, int]]) -> None:
    samples, made = Samples(_DEFINITIONS), list[tuple[object, object]]()
    for spec, days in asked:
        nominal = _BEGIN + days * 86400
        made.append((samples.runs(spec, nominal), scheduled_runs(_DEFINITIONS, spec, nominal)))
    assert all(filled == anew for filled, anew in made)  # the earlier ones, too: what they share has not changed
