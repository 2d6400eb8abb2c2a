"""`freshet partitions SET` against a whole engine: the last ones, and those in a state, in sets in time too."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap
from tests.support.served import Said, ServedEngine, served_engine

from freshet import DynamicPartitions, TimePartitions, asset
from freshet.engine.clock import SimulatedClock
from freshet.engine.partitions.page import PartitionsQuery, page_of

DAY = 86_400
days = TimePartitions("daily", start="1990-01-01", timezone="UTC", name="days")
tenants = DynamicPartitions("tenants")


@asset(partitions=days)
def takings(ctx: Any) -> str:
    if ctx.partition.key == "2026-03-03":
        raise ValueError("no such day")
    return str(ctx.partition.key)


@asset(partitions=tenants)
def one() -> int:
    return 1


@asset(partitions=tenants)
def other() -> int:
    return 1


def _keys(said: Said) -> list[str]:
    assert said.status == 0, said.err
    return [row["key"] for row in said.json["partitions"]]


def _materialize(served: ServedEngine, *keys: str) -> None:
    for key in keys:
        assert served.cli("materialize", "takings", "--partition", key).status == 0
    served.settle()


def test_the_last_windows_and_those_in_a_state_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock = SimulatedClock(1_773_100_800.0)  # 2026-03-10
    with served_engine(tmp_path, [takings, one, other], capsys, clock=clock) as served:
        cli = served.cli
        assert _keys(cli("partitions", "days", "--json", "--last", "2")) == ["2026-03-08", "2026-03-09"]
        served.advance(DAY)
        assert _keys(cli("partitions", "days", "--json", "--last", "2")) == ["2026-03-09", "2026-03-10"]
        assert _keys(cli("partitions", "days", "--json", "--limit", "1")) == ["1990-01-01"]

        _materialize(served, "2026-03-01", "2026-03-03", "2026-03-05", "2026-03-09")
        made = ("partitions", "days", "--state", "materialized", "--json")
        assert _keys(cli(*made, "--asset", "takings")) == ["2026-03-01", "2026-03-05", "2026-03-09"]
        assert _keys(cli(*made, "--last", "1")) == ["2026-03-09"]
        first = cli(*made, "--limit", "2").json
        assert _keys(cli(*made, "--limit", "2", "--after", str(first["next"]))) == ["2026-03-09"]
        assert _keys(cli("partitions", "days", "--state", "failed", "--json")) == ["2026-03-03"]
        missing = _keys(cli("partitions", "days", "--state", "missing", "--last", "4", "--json"))
        assert missing == ["2026-03-06", "2026-03-07", "2026-03-08", "2026-03-10"]
        more = cli("partitions", "days", "--state", "materialized", "--limit", "1").out
        assert more.splitlines()[-1].startswith("more: freshet partitions days --state materialized --after ")


def test_what_is_not_clear_is_refused_with_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served_engine(tmp_path, [takings, one, other], capsys) as served:
        cli = served.cli
        which = cli("partitions", "tenants", "--state", "failed")
        assert which.status == 1 and "of which asset?" in which.err and "one, other" in which.err
        wrong = cli("partitions", "tenants", "--state", "failed", "--asset", "othr")
        assert wrong.status == 1 and "did you mean 'other'" in wrong.err
        assert cli("partitions", "tenants", "--asset", "one").status == 2
        assert cli("partitions", "tenants", "--last", "1", "--after", "3").status == 2
        assert cli("partitions", "--last", "1").status == 2


@given(st.sets(st.integers(1, 300_000)), st.integers(0, 300_001), st.integers(1, 20))
def test_a_page_is_what_counting_would_give(numbers: set[int], after: int, size: int) -> None:
    found, ordered = BitMap(numbers), sorted(numbers)
    page = page_of(found, PartitionsQuery(after=after, limit=size))
    assert list(page) == [number for number in ordered if number > after][:size]
    assert list(page_of(found, PartitionsQuery(last=size))) == ordered[-size:]


def test_a_page_of_millions_enumerates_none_of_them() -> None:
    found = BitMap(range(1, 20_000_000))
    tracemalloc.start()
    try:
        assert page_of(found, PartitionsQuery(last=3)) == (19_999_997, 19_999_998, 19_999_999)
        assert page_of(found, PartitionsQuery(after=10_000_000, limit=2)) == (10_000_001, 10_000_002)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
