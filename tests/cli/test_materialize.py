"""`freshet materialize --downstream` against a whole engine: one run where that can be, else the way to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.served import served_engine

from freshet import DynamicPartitions, MultiPartitions, StaticPartitions, asset

tenants = DynamicPartitions("tenants")
cells = MultiPartitions(tenant=tenants, region=StaticPartitions(["eu", "us"], name="regions"))


@asset(partitions=cells)
def cell() -> int:
    return 1


@asset(partitions=tenants)
def tenant(cell: dict[str, int]) -> int:
    return sum(cell.values())


@asset
def total(tenant: dict[str, int]) -> int:
    return sum(tenant.values())


def test_what_is_below_is_made_in_one_run_or_the_backfill_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served_engine(tmp_path, [cell, tenant, total], capsys) as served:
        cli = served.cli
        cli("partitions", "tenants", "add", "a")
        assert cli("materialize", "tenant", "--partition", "a", "--downstream").status == 0
        served.settle()
        (run,) = cli("runs", "--json").json
        assert (run["state"], [step["name"] for step in run["steps"]]) == ("succeeded", ["tenant", "total"])

        refused = cli("materialize", "cell", "--partition", "tenant=a|region=eu", "--downstream")
        way = "freshet backfill cell --partitions 'tenant=a|region=eu' --downstream"
        assert refused.status == 1 and "different partitions" in refused.err and way in refused.err
        assert cli("backfill", "cell", "--partitions", "tenant=a|region=eu", "--downstream", "--no-wait").status == 0
        served.settle()
        made = {(run["target"], run["partition"]) for run in cli("runs", "--json").json}
        assert {("cell", "tenant=a|region=eu"), ("tenant", "a"), ("total", None)} <= made

        nothing_named = cli("materialize", "tenant", "--downstream").err
        assert "name a partition" in nothing_named and "freshet backfill tenant --all --downstream" in nothing_named
