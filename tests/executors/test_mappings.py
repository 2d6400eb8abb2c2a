"""Dependencies with a mapping, as plugins write them: both ways, every mapping; what is wrong is told with place."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.executors.test_loading import load

from freshet import All, ByDimension, Identity, Last, Static, TimeWindow
from freshet.definitions.asset import DepSpec
from freshet.definitions.mapping import Mapping

pytestmark = pytest.mark.anyio

HEAD = """
from __future__ import annotations
from typing import Annotated, Any
from freshet import (
    All, ByDimension, Dep, DynamicPartitions, Identity, Last, MultiPartitions, Static, StaticPartitions, TimePartitions,
    TimeWindow, asset,
)
days = TimePartitions("daily", start="2026-01-01", timezone="UTC")
regions = StaticPartitions(["eu", "us"], name="regions")
zones = StaticPartitions(["north", "south"], name="zones")
grid = MultiPartitions(day=days, region=regions)

@asset(partitions=days)
def daily(): ...

@asset(partitions=regions)
def regional(): ...

@asset(partitions=grid)
def cell(): ...
"""
LINES = HEAD.count("\n")

FITTING: dict[str, tuple[str, str, Mapping]] = {
    "Identity()": ("daily", "days", Identity()),
    "All()": ("daily", "zones", All()),
    "Last()": ("regional", "days", Last()),
    "TimeWindow(start=-6)": ("daily", "days", TimeWindow(-6)),
    'Static({"eu": "north", "us": ["north", "south"]})': (
        "regional",
        "zones",
        Static({"eu": "north", "us": ["north", "south"]}),
    ),
    'ByDimension("day", day=TimeWindow(start=-1))': ("cell", "days", ByDimension("day", day=TimeWindow(-1))),
    "ByDimension(day=TimeWindow(start=-1, end=-1))": ("cell", "grid", ByDimension(day=TimeWindow(-1, -1))),
}


async def test_both_ways_to_name_a_mapping_say_the_same(tmp_path: Path) -> None:
    text = HEAD
    for number, (mapping, (upstream, below, _)) in enumerate(FITTING.items()):
        text += f"""
@asset(partitions={below}, deps=[Dep("{upstream}", mapping={mapping})])
def listed{number}({upstream}: Any): ...

@asset(partitions={below})
def noted{number}(values: Annotated[Any, Dep({upstream}, mapping={mapping})]): ...
"""
    report = await load(tmp_path, plugin=text)
    assert [one for one in report.problems if "by this release" not in one.message] == []
    for number, (upstream, _, meant) in enumerate(FITTING.values()):
        (listed,) = report.definitions.asset[f"listed{number}"].deps
        (noted,) = report.definitions.asset[f"noted{number}"].deps
        assert listed == DepSpec(upstream, upstream, meant)
        assert noted == DepSpec(upstream, "values", meant)


WRONG = {
    "TimeWindow": ("daily", "days", "mapping takes", "give one of it: TimeWindow(...)"),
    '"last"': ("daily", "days", "mapping takes", "write Last()"),
    "TimeWindow(start=1, end=0)": (
        "daily",
        "days",
        "TimeWindow(start=1, end=0) is empty",
        "start must not be after end",
    ),
    "Static({})": ("regional", "zones", "Static({}): names no key", "upstream key"),
    "Nonsense()": ("daily", "days", "Nonsense", ""),
    "TimeWindow()": ("regional", "days", "needs TimePartitions on both sides", "use All() or Last()"),
    "Identity()": ("regional", "zones", "needs the same partitions on both sides", "use All() or Last()"),
    'Static({"eu": "nroth"})': ("regional", "zones", "names 'nroth'", "did you mean 'north'?"),
    "ByDimension(dya=All())": ("cell", "grid", "names the dimension 'dya'", "did you mean 'day'?"),
}


@pytest.mark.parametrize("mapping", WRONG)
@pytest.mark.parametrize("way", ["listed", "noted"])
async def test_a_wrong_mapping_is_told_with_file_and_line(tmp_path: Path, mapping: str, way: str) -> None:
    upstream, below, said, hint = WRONG[mapping]
    text = (
        f'@asset(partitions={below}, deps=[Dep("{upstream}", mapping={mapping})])\ndef made({upstream}: Any): ...\n'
        if way == "listed"
        else f'@asset(partitions={below})\ndef made(rows: Annotated[Any, Dep("{upstream}", mapping={mapping})]): ...\n'
    )
    report = await load(tmp_path, plugin=HEAD + text)
    (problem,) = [one for one in report.problems if "by this release" not in one.message]
    assert said in problem.message
    assert hint in problem.hint
    assert (problem.file, problem.line) == (str(tmp_path / "plugins" / "plugin.py"), LINES + 1)


async def test_an_annotation_with_a_mapping_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    text = "@asset\ndef made(daily: Annotated[DataFrame, Dep(mapping=Last())]): ...\n"
    report = await load(tmp_path, plugin=HEAD + text)
    (problem,) = [one for one in report.problems if "by this release" not in one.message]
    assert "name 'DataFrame' is not defined" in problem.message
    assert (problem.file, problem.line) == (str(tmp_path / "plugins" / "plugin.py"), LINES + 1)
    without = "@asset\ndef made(daily: DataFrame): ...\n"
    report = await load(tmp_path, plugin=HEAD + without)
    assert report.problems == () or all("by this release" in one.message for one in report.problems)


async def test_an_upstream_is_taken_once(tmp_path: Path) -> None:
    text = "@asset\ndef made(daily: Any, again: Annotated[Any, Dep(daily, mapping=Last())]): ...\n"
    report = await load(tmp_path, plugin=HEAD + text)
    (problem,) = [one for one in report.problems if "by this release" not in one.message]
    assert problem.message == "asset made: the parameters 'daily' and 'again' both name the upstream 'daily'"
    assert problem.line == LINES + 1
