"""`@schedule`: what may be said, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter

from freshet import DefinitionError, RunRequest, StaticPartitions, TimePartitions, asset, job, schedule
from freshet.definitions.asset import AssetSpec
from freshet.definitions.graph import Definitions, validate
from freshet.definitions.partitions import DynamicPartitions, MultiPartitions, PartitionsSpec
from freshet.definitions.schedule import Schedule, ScheduleSpec
from freshet.definitions.sensor import SensorSpec
from freshet.definitions.source import collecting


@schedule(cron="0 6 * * *", timezone="Europe/Berlin", target="sales", params={"full": True})
def every_morning() -> None:
    """At six."""


@schedule(every="12h", jitter="5m", max_late=timedelta(hours=1), misfire="skip", overlap="latest")
def with_a_body(ctx: Any) -> Any:
    yield RunRequest("sales", partition=ctx.scheduled_time.date().isoformat())


def test_a_function_without_contents_has_no_body() -> None:
    made = every_morning.spec
    assert not made.body and (made.cron, made.timezone, made.target) == ("0 6 * * *", "Europe/Berlin", "sales")
    assert (made.name, made.doc, made.params) == ("every_morning", "At six.", {"full": True})
    assert made.source is not None and made.source.file == __file__
    assert with_a_body.spec.body and with_a_body.spec.every == 43_200_000


def test_what_counts_as_a_body() -> None:
    def make(function: Any) -> bool:
        return schedule(cron="@daily", target="x")(function).spec.body

    def dots() -> None: ...
    def passes(ctx: Any) -> None:
        pass

    async def waits() -> None: ...
    def returns() -> Any:
        return []

    def skips(ctx: Any) -> None:
        if ctx:
            return

    async def asks(ctx: Any) -> Any:
        return await ctx

    assert [make(one) for one in (dots, passes, waits)] == [False, False, False]
    assert [make(one) for one in (returns, skips, asks)] == [True, True, True]


def test_a_body_may_do_without_ctx() -> None:
    @schedule(cron="@daily")
    def plain() -> RunRequest:
        return RunRequest("sales")

    assert plain.evaluate(object()) == plain() == RunRequest("sales")


def test_schedules_collect_themselves() -> None:
    with collecting() as found:
        made = Schedule("nightly", cron="@daily", target="sales")
    assert found == [made]


def test_the_target_may_be_the_thing_itself() -> None:
    @asset
    def sales() -> int:
        return 1

    @job
    def call() -> None: ...

    assert Schedule("a", cron="@daily", target=sales).spec.target == "sales"
    assert Schedule("b", cron="@daily", target=call).spec.target == "call"


def test_a_schedule_is_plain_data() -> None:
    made = [every_morning.spec, with_a_body.spec]
    assert TypeAdapter(list[ScheduleSpec]).validate_json(orjson.dumps(made)) == made


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "neither cron nor every"),
        ({"cron": "@daily", "every": "1h"}, "both"),
        ({"cron": "99 * * * *"}, "minute"),
        ({"cron": "@daily", "timezone": "Europe/Berlim"}, "did you mean 'Europe/Berlin'?"),
        ({"every": "1d"}, "24h"),
        ({"every": "2w"}, "cron"),
        ({"every": timedelta(days=1)}, "24h"),
        ({"every": "50ms"}, "100ms"),
        ({"every": "0.1234567s"}, "whole milliseconds"),
        ({"every": "often"}, "not a duration"),
        ({"cron": "@daily", "misfire": "last"}, "did you mean 'latest'?"),
        ({"cron": "@daily", "overlap": "maybe"}, "overlap"),
        ({"cron": "@daily", "max_catch_up": 0}, "from 1 to"),
        ({"cron": "@daily", "jitter": "x"}, "jitter"),
        ({"cron": "@daily", "target": None}, "no target"),
        ({"cron": "@daily", "target": 7}, "no asset or job"),
        ({"cron": "@daily", "name": "a b"}, "not a name"),
    ],
)
def test_schedules_that_cannot_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        given: dict[str, Any] = {"name": "nightly", "target": "sales", **options}
        Schedule(**given)
    said = str(caught.value)
    assert says in said and ("nightly" in said or "name" in options) and "\n" not in said and len(said) < 300


DAYS = TimePartitions("daily", "2026-01-01")
KEYS = StaticPartitions(["a"], name="keys")


def definitions(made: ScheduleSpec, partitions: PartitionsSpec | None = None) -> Definitions:
    return Definitions(assets=(AssetSpec("sales", partitions=partitions),), schedules=(made,))


def unclear(made: Definitions) -> list[DefinitionError]:
    return [problem for problem in validate(made) if "which partition of 'sales'" in problem.message]


@pytest.mark.parametrize("partitions", [None, DAYS, MultiPartitions(day=DAYS, key=KEYS)])
def test_a_tick_says_which_partition(partitions: PartitionsSpec | None) -> None:
    assert unclear(definitions(every_morning.spec, partitions)) == []


@pytest.mark.parametrize(
    "partitions",
    [
        KEYS,
        DynamicPartitions("shops"),
        MultiPartitions(key=KEYS, shop=DynamicPartitions("shops")),
        MultiPartitions(day=DAYS, hour=TimePartitions("hourly", "2026-01-01")),
    ],
)
def test_otherwise_a_body_must(partitions: PartitionsSpec) -> None:
    (problem,) = unclear(definitions(every_morning.spec, partitions))
    assert "RunRequest" in problem.hint and problem.file == __file__
    assert unclear(definitions(with_a_body.spec, partitions)) == []


def test_unknown_targets_and_taken_names() -> None:
    (problem,) = validate(definitions(ScheduleSpec("x", cron="0 0 * * *", target="slaes")))
    assert "did you mean 'sales'?" in problem.hint
    taken = Definitions(sensors=(SensorSpec("x", "t"),), schedules=(ScheduleSpec("x", every=1000),))
    (problem,) = validate(taken)
    assert "schedule 'x' is declared twice" in problem.message


def test_the_configurations_zone_reaches_everything() -> None:
    plain = ScheduleSpec("s", cron="0 0 * * *", target="sales")
    made = definitions(plain, DAYS).resolved("Asia/Tokyo")
    assert made.schedule["s"].timezone == "Asia/Tokyo" and "daily.Asia.Tokyo" in made.partition_set
    assert made.resolved("UTC") == made
    with pytest.raises(ValueError, match="not resolved"):
        _ = plain.times
