"""What was asked for is resolved and checked before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.job import JobSpec
from freshet.definitions.partitions import DynamicPartitions, StaticPartitions
from freshet.definitions.sensor import SensorSpec
from freshet.engine.requests import call_job, check_partitions, check_reports, input_needs, run_of_assets, sensor_run
from freshet.errors import Conflict, FreshetError, PartitionKeyError, UnknownName
from freshet.executors.base import RequestedRun
from freshet.store.records import InputNeed, PartitionDelta, ReportedMaterialization, StepToAdmit

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
        StepToAdmit("raw"),
        StepToAdmit("clean", (0,)),
        StepToAdmit("sales", (1,), partitioned=False),
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
