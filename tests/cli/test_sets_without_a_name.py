"""A set that nobody named is told by the asset or dimension that it belongs to, never by a name made up for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.served import served_engine

from freshet import (
    Dep,
    DynamicPartitions,
    MultiPartitions,
    RunRequest,
    SensorContext,
    Static,
    StaticPartitions,
    TimePartitions,
    asset,
    sensor,
)
from freshet.definitions.graph import Definitions, validate

MADE_UP = re.compile(r"static-[0-9a-f]{12}|cron-[0-9a-f]{12}|-[0-9a-f]{8}\b")
regions = StaticPartitions(["eu", "us"])
shifts = TimePartitions("0 6 * * *", start="2025-12-20", timezone="UTC")
cells = MultiPartitions(region=regions, tenant=DynamicPartitions("tenants"))


@asset(partitions=regions)
def by_region() -> int:
    return 1


@asset(partitions=shifts)
def by_shift() -> int:
    return 1


@asset(partitions=cells)
def cell() -> int:
    return 1


@sensor(target="by_region", interval="1h")
def wrong(ctx: SensorContext) -> RunRequest:
    return RunRequest(partition="ue")


SAID = [
    ("materialize by_region", "the asset 'by_region' is partitioned by 'eu', 'us'"),
    ("materialize by_region --partition ue", "the partition set of 'by_region' has no key 'ue'"),
    ("materialize by_region cell --partition eu", "different partitions ('eu', 'us' and region and tenant)"),
    ("materialize by_shift --partition 2001-01-01T06:00+00:00", "before the start of 'by_shift'"),
    ("materialize by_shift --partition 2126-01-01T06:00+00:00", "of 'by_shift' is not closed yet"),
    ("materialize cell --partition region=ue|tenant=a", "the partition of 'cell': the dimension 'region' has no key"),
    ("materialize cell --partition region=eu", "the partition of 'cell': the dimension 'tenant' is missing"),
    ("materialize cell --partition rgion=eu|tenant=a", "the partition of 'cell': there is no dimension 'rgion'"),
    ("materialize cell --partition region=eu|tenant=a", "the dimension 'tenant': the partition set 'tenants' has no"),
    ("backfill by_region --partitions ue", "the partition set of 'by_region' has no key 'ue'"),
    ("backfill by_region --partitions eu..su", "the partition set of 'by_region' has no key 'su', nor 'eu..su'"),
    ("backfill by_shift --partitions 2001-01-01T06:00+00:00", "before the start of 'by_shift'"),
    ("backfill cell --partitions region=ue", "the partition set of the dimension 'region' has no key 'ue'"),
    ("backfill cell --partitions rgion=eu", "'rgion=eu' names no dimension of 'cell'"),
]


def test_it_is_told_by_whose_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served_engine(tmp_path, [by_region, by_shift, cell], capsys) as served:
        for argv, says in SAID:
            said = served.cli(*argv.split())
            told = said.err.partition("hint: ")[0]
            assert said.status == 1 and says in told and not MADE_UP.search(told), (argv, told)


def test_so_is_what_a_sensor_asks_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served_engine(tmp_path, [by_region, wrong], capsys) as served:
        served.settle()
        said = served.cli("sensors", "wrong").out
        assert "the partition set of 'by_region' has no key 'ue'" in said


def test_and_what_a_mapping_names() -> None:
    @asset(partitions=StaticPartitions(["north"]), deps=[Dep("by_region", mapping=Static({"ue": "north"}))])
    def compass() -> int:
        return 1

    specs = (by_region.spec, compass.spec)
    (problem,) = validate(
        Definitions(assets=specs, partitions=tuple(one.partitions for one in specs if one.partitions))
    )
    assert "names 'ue', which is no key of the partitions above" in problem.message
