"""What was asked for is resolved and checked before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.graph import Definitions, validate
from freshet.definitions.job import JobSpec
from freshet.definitions.mapping import All, Last
from freshet.definitions.partitions import DynamicPartitions, MultiPartitions, StaticPartitions, TimePartitions
from freshet.definitions.schedule import ScheduleSpec
from freshet.definitions.sensor import SensorSpec
from freshet.engine.requests import (
    call_job,
    check_partitions,
    check_reports,
    input_needs,
    run_of_assets,
    scheduled_runs,
    sensor_run,
)
from freshet.errors import Conflict, FreshetError, PartitionKeyError, UnknownName
from freshet.executors.base import RequestedRun
from freshet.store.records import InputNeed, PartitionDelta, PartitionRef, ReportedMaterialization, StepToAdmit

BATCHES = DynamicPartitions("batches")
REGIONS = StaticPartitions(["north", "south"], name="regions")
NOW = 1_790_000_000.0  # 2026-09-21T13:33:20Z, a Monday
SCHEMA: dict[str, Any] = {"properties": {"order_id": {}, "urgent": {}}, "required": ["order_id"]}
DEFINITIONS = Definitions(
    assets=(
        AssetSpec("raw", partitions=BATCHES, priority=2),
        AssetSpec("clean", deps=(DepSpec("raw", "raw"),), partitions=BATCHES),
        AssetSpec("sales", deps=(DepSpec("clean", "clean"), DepSpec("rates")), tags={"team": "finance"}),
        AssetSpec("rates"),
        AssetSpec("by_region", partitions=REGIONS),
    ),
    jobs=(JobSpec("notify", parameters=SCHEMA, priority=1),),
    sensors=(SensorSpec("landing", "FileSensor", target="raw"), SensorSpec("lost", "sensor")),
)


def _request(
    target: str | None = None, partition: str | None = None, run_key: str | None = None, **given: Any
) -> RequestedRun:
    return RequestedRun(target, partition, run_key, **given)


def test_steps_come_after_the_upstreams_that_are_among_them() -> None:
    names = DEFINITIONS.select(["raw"], downstream=True)
    run = run_of_assets(DEFINITIONS, names, key="a", origin="manual", now=NOW)
    assert run.steps == (
        StepToAdmit("raw", alone=True),
        StepToAdmit("clean", (0,), alone=True),
        StepToAdmit("sales", (1,), partitioned=False, alone=True),
    )
    assert (run.target, run.set, run.key, run.priority) == ("sales", "batches", "a", 2)


def test_inputs_follow_the_mapping_and_leave_out_what_is_order_alone() -> None:
    assert input_needs(DEFINITIONS, ["clean", "sales", "notify"]) == {
        "clean": (InputNeed("raw", "identity", "batches"),),
        "sales": (InputNeed("clean", "all", "batches"),),
    }


def test_a_sensor_s_target_is_the_default() -> None:
    run = sensor_run(
        DEFINITIONS, _request(partition="a", run_key="k"), sensor="landing", origin="sensor:landing", now=NOW
    )
    assert (run.kind, run.target, run.key, run.run_key, run.priority) == ("asset", "raw", "a", "k", 2)


def test_a_job_takes_the_request_s_parameters() -> None:
    request = _request(target="notify", params={"order_id": "7"}, priority=3)
    run = sensor_run(DEFINITIONS, request, sensor="lost", origin="sensor:lost", now=NOW)
    assert (run.kind, run.params, run.priority, run.steps) == ("job", {"order_id": "7"}, 4, (StepToAdmit("notify"),))


@pytest.mark.parametrize(
    ("request_", "kind", "message"),
    [
        (_request(), UnknownName, "without a target"),
        (_request(target="sale", partition="a"), UnknownName, "'sales'"),
        (_request(target="notify", partition="a"), Conflict, "no partitions"),
        (_request(target="raw"), Conflict, "name a partition"),
        (_request(target="sales", partition="a"), Conflict, "no partitions"),
        (_request(target="raw", partition="../etc"), PartitionKeyError, "dot"),
        (_request(target="raw", partition="a\nb"), PartitionKeyError, "control character"),
        (_request(target="raw", partition="x" * 10_000), PartitionKeyError, "10000 characters"),
    ],
)
def test_a_request_that_cannot_be_is_refused_with_a_reason(
    request_: RequestedRun, kind: type[FreshetError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        sensor_run(DEFINITIONS, request_, sensor="lost", origin="sensor:lost", now=NOW)


def test_assets_of_two_sets_are_not_one_run() -> None:
    with pytest.raises(Conflict, match="different partitions"):
        run_of_assets(DEFINITIONS, ["raw", "by_region"], key="north", origin="manual", now=NOW)


def test_a_job_s_parameters_are_known_and_complete() -> None:
    run = call_job(DEFINITIONS, "notify", {"order_id": 1, "urgent": True}, priority=0, tags={})
    assert run.params == {"order_id": 1, "urgent": True}
    with pytest.raises(UnknownName, match="'order_id'"):
        call_job(DEFINITIONS, "notify", {"order": 1}, priority=0, tags={})
    with pytest.raises(Conflict, match="needs the parameter 'order_id'"):
        call_job(DEFINITIONS, "notify", {}, priority=0, tags={})
    with pytest.raises(UnknownName, match="'notify'"):
        call_job(DEFINITIONS, "notfy", {}, priority=0, tags={})


def test_only_dynamic_sets_change_and_their_keys_are_normal() -> None:
    delta = check_partitions(DEFINITIONS, PartitionDelta("batches", add=(("e\u0301", {}),)))
    assert delta.add == (("\u00e9", {}),)
    with pytest.raises(Conflict, match="fixed"):
        check_partitions(DEFINITIONS, PartitionDelta("regions", add=(("east", {}),)))
    with pytest.raises(UnknownName, match="'batches'"):
        check_partitions(DEFINITIONS, PartitionDelta("batch"))


def test_a_report_names_a_partition_exactly_where_there_are_some() -> None:
    check_reports(DEFINITIONS, [ReportedMaterialization("raw", "a"), ReportedMaterialization("rates")], NOW)
    with pytest.raises(Conflict, match="names no partition"):
        check_reports(DEFINITIONS, [ReportedMaterialization("raw")], NOW)
    with pytest.raises(Conflict, match="no partitions"):
        check_reports(DEFINITIONS, [ReportedMaterialization("rates", "a")], NOW)


# --- windows and combinations --------------------------------------------------------------------------------

DAYS = TimePartitions("daily", start="2026-09-01", timezone="Europe/Berlin", name="days")
OPEN = TimePartitions("daily", start="2026-09-01", timezone="Europe/Berlin", name="open", end_offset=1)
WEEKS = TimePartitions("weekly", start="2026-09-01", timezone="Europe/Berlin", name="weeks")
CUBE = MultiPartitions(day=DAYS, region=REGIONS, name="cube")
LOOSE = MultiPartitions(batch=BATCHES, region=REGIONS, name="loose")
TIMED = Definitions(
    assets=(
        AssetSpec("daily", partitions=DAYS),
        AssetSpec("opened", partitions=OPEN),
        AssetSpec("cubed", partitions=CUBE),
        AssetSpec("loose", partitions=LOOSE),
        AssetSpec("regional", partitions=REGIONS),
        AssetSpec(
            "below",
            deps=(
                *(DepSpec(name, name, mapping=Last()) for name in ("daily", "cubed", "regional", "loose")),
                DepSpec("opened", "opened", mapping=All()),
            ),
        ),
        AssetSpec("by_region", deps=(DepSpec("cubed", "cubed"), DepSpec("regional", "regional")), partitions=REGIONS),
        AssetSpec("weekly", deps=(DepSpec("daily", "daily"),), partitions=WEEKS),
    ),
    schedules=(
        ScheduleSpec("nightly", cron="0 0 * * *", timezone="Europe/Berlin", target="cubed"),
        ScheduleSpec("early", cron="0 0 * * *", timezone="Europe/Berlin", target="daily"),
    ),
)


def test_a_window_s_number_follows_from_its_key() -> None:
    run = run_of_assets(TIMED, ["daily"], key="2026-09-20", origin="manual", now=NOW)
    assert (run.set, run.key, run.partition, run.parts) == ("days", "2026-09-20", DAYS.number("2026-09-20"), ())


def test_a_combination_is_named_in_the_order_declared_with_its_parts() -> None:
    run = run_of_assets(TIMED, ["cubed"], key="region=north|day=2026-09-20", origin="manual", now=NOW)
    day = PartitionRef("days", "2026-09-20", number=DAYS.number("2026-09-20"))
    assert (run.set, run.key, run.partition) == ("cube", "day=2026-09-20|region=north", None)
    assert run.parts == (day, PartitionRef("regions", "north"))


@pytest.mark.parametrize(
    ("asset", "key", "message"),
    [
        ("daily", "2026-09-21", r"not closed yet: it is from 2026-09-22T00:00\+02:00 on \(.*end_offset=1\) shows"),
        ("daily", "2026-09-25", r"not closed yet: it is from 2026-09-26T00:00\+02:00 on \(the last is '2026-09-20'\)"),
        ("opened", "2026-09-22", r"not shown yet \(end_offset=1\): it is from 2026-09-22T00:00\+02:00 on"),
        ("daily", "2026-08-31", "before the start of 'days'.*the first is '2026-09-01'"),
        ("daily", "2026-9-1", "is no daily"),
        ("daily", "2499-12-31", "not closed yet"),
        ("cubed", "day=2026-09-21|region=north", "the dimension 'day' of 'cube': .* not closed yet"),
        ("cubed", "day=2026-09-20|region=nroth", "no key 'nroth'.*'north'"),
        ("cubed", "day=2026-09-20", "'region' of cube is missing"),
        ("cubed", "day=2026-09-20|region=north|region=south", "gives 'region' twice"),
        ("loose", "batch=../x|region=north", "begins with a dot"),
        ("loose", "batch=a%0Ab|region=north", "is no dimension"),
        ("regional", "nroth", "no key 'nroth'.*did you mean 'north'"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_with_a_reason(asset: str, key: str, message: str) -> None:
    with pytest.raises((PartitionKeyError, UnknownName), match=message) as caught:
        run_of_assets(TIMED, [asset], key=key, origin="manual", now=NOW)
    assert caught.value.hint
    with pytest.raises((PartitionKeyError, UnknownName), match=message):
        check_reports(TIMED, [ReportedMaterialization(asset, key)], NOW)


def test_the_open_window_is_taken_where_it_is_shown() -> None:
    assert run_of_assets(TIMED, ["opened"], key="2026-09-21", origin="manual", now=NOW).partition
    assert run_of_assets(TIMED, ["daily"], key="2026-09-21", origin="manual", now=NOW + 86_400).partition


def test_a_report_knows_its_window_and_its_parts() -> None:
    day, cube = check_reports(
        TIMED,
        [
            ReportedMaterialization("daily", "2026-09-20", metadata={"rows": 1}),
            ReportedMaterialization("cubed", "region=north|day=2026-09-20"),
        ],
        NOW,
    )
    assert (day.number, day.metadata) == (DAYS.number("2026-09-20"), {"rows": 1})
    assert (cube.key, [part.key for part in cube.parts]) == ("day=2026-09-20|region=north", ["2026-09-20", "north"])


def test_only_the_engine_can_name_the_partitions_of_most_mappings() -> None:
    needs = input_needs(TIMED, ["below", "by_region", "weekly"])
    assert [(need.asset, need.mapping) for need in needs["below"]] == [
        ("daily", "some"),
        ("cubed", "last"),
        ("regional", "some"),
        ("loose", "last"),
        ("opened", "all"),
    ]
    assert [need.mapping for need in needs["by_region"]] == ["some", "identity"]
    assert needs["weekly"] == (InputNeed("daily", "some", "days"),)


def test_a_schedule_asks_for_each_listed_key_of_the_window_that_it_closed() -> None:
    midnight = DAYS.window("2026-09-20").end
    runs = scheduled_runs(TIMED, TIMED.schedule["nightly"], midnight)
    assert [run.key for run in runs] == ["day=2026-09-20|region=north", "day=2026-09-20|region=south"]
    (run,) = scheduled_runs(TIMED, TIMED.schedule["early"], midnight)
    assert (run.key, run.partition) == ("2026-09-20", DAYS.number("2026-09-20"))
    begin = DAYS.window("2026-09-01").start
    assert scheduled_runs(TIMED, TIMED.schedule["early"], begin) == (), "it closed nothing"


@pytest.mark.parametrize(
    "several",
    [
        LOOSE,
        MultiPartitions(day=DAYS, batch=BATCHES),
        MultiPartitions(day=DAYS, other=OPEN),
        MultiPartitions(day=DAYS, region=StaticPartitions(map(str, range(1_001)), name="many")),
        MultiPartitions(day=DAYS, region=StaticPartitions(["%" * 60], name="long")),
    ],
)
def test_a_schedule_without_a_body_must_mean_a_few_partitions(several: MultiPartitions) -> None:
    bare = ScheduleSpec("bare", cron="0 0 * * *", target="cubed")
    (problem,) = validate(Definitions(assets=(AssetSpec("cubed", partitions=several),), schedules=(bare,)))
    assert "which partition of 'cubed' is meant" in problem.message
    assert "body" in problem.hint
