"""Values between steps in real workers: a plugin's own I/O managers, and annotations that are kept to."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.executors.hosting import hosting, ref
from tests.executors.test_loading import load

from freshet.executors.base import StepEnd

pytestmark = pytest.mark.anyio

PLUGIN = """
from __future__ import annotations
from typing import TYPE_CHECKING
import pandas
from freshet import IOManager, StaticPartitions, asset

if TYPE_CHECKING:
    from somewhere import Unknown

class Csv(IOManager):
    name = "csv"

    def dumps(self, value):
        return "\\n".join(",".join(row) for row in value).encode()

    def loads(self, data, wanted):
        return [line.split(",") for line in data.decode().split("\\n")]

parts = StaticPartitions(["a", "b"], name="parts")

@asset(io="csv")
def rows() -> list[list[str]]:
    return [["a", "b"], ["c", "d"]]

@asset
def counted(rows: list[list[str]]) -> int:
    return sum(map(len, rows))

@asset
def misread(rows: list[str]):
    ...

@asset
def unresolved(rows: Unknown) -> Unknown:
    return len(rows)

@asset
def lies() -> dict[str, list[int]]:
    return {"a": [1, "2"]}

@asset
async def lies_later() -> int:
    return "1"

@asset(partitions=parts)
def part(ctx) -> int | str:
    return 1 if ctx.partition.key == "a" else "b"

@asset
def parts_misread(part: dict[str, int]) -> int:
    return sum(part.values())

@asset(io="none")
def elsewhere():
    ...

@asset
def after(elsewhere: None) -> bool:
    return elsewhere is None

@asset
def table() -> pandas.DataFrame:
    return pandas.DataFrame({"n": [1, 2]})

@asset
def total(table: pandas.DataFrame) -> int:
    return table.n.sum()
"""


def said(end: StepEnd) -> str:
    assert end.error is not None
    assert end.error.type == "ValueFormatError", end.error
    return end.error.message


async def test_values_between_workers(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as here:
        assert here.report.start_method == "fork", "what tables need is loaded before, and starts no thread"
        rows = await here.asset("rows")
        assert rows.value is not None
        assert rows.value.io == "csv"
        assert (here.state_dir / "values" / rows.value.path).read_text() == "a,b\nc,d"
        assert here.value(await here.asset("counted", inputs={"rows": ref(rows)})) == 4
        assert here.value(await here.asset("unresolved", inputs={"rows": ref(rows)})) == 2
        assert "the value of 'rows' does not fit the parameter's annotation: $[0]: ['a', 'b'] is of type list" in said(
            await here.asset("misread", inputs={"rows": ref(rows)})
        )
        nothing = await here.asset("elsewhere")
        assert nothing.version is None
        assert here.value(await here.asset("after", inputs={"elsewhere": ref(nothing)})) is True
        table = await here.asset("table")
        assert table.value is not None
        assert table.value.io == "parquet"
        assert here.value(await here.asset("total", inputs={"table": ref(table)})) == 3


async def test_what_does_not_fit_its_annotation_fails_with_place_and_reason(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as here:
        assert "its annotation: $.a[1]: '2' is of type str, not int" in said(await here.asset("lies"))
        assert "its annotation: $: '1' is of type str, not int" in said(await here.asset("lies_later"))
        assert not (here.state_dir / "values" / "lies").exists()
        parts = {key: (await here.asset("part", key=key)).value for key in ("a", "b")}
        inputs = {key: value for key, value in parts.items() if value is not None}
        message = said(await here.asset("parts_misread", inputs={"part": inputs}))
        assert "the value of 'part' in partition 'b' does not fit" in message


async def test_wrong_managers_are_refused_where_they_stand(tmp_path: Path) -> None:
    report = await load(
        tmp_path,
        plugin="""
        from freshet import IOManager, S3Values, asset

        class Json(IOManager):
            name = "json"
            def dumps(self, value): ...
            def loads(self, data, wanted): ...

        class Needs(Json):
            name = "needs"
            def __init__(self, where): ...

        S3Values("s3://a")
        S3Values("s3://b")

        @asset(io="s3:parket")
        def values(): ...

        @asset(io="lake")
        def other(): ...

        @asset(io="s3:parquet")
        def right(): ...
        """,
    )
    said = [(problem.message, problem.line) for problem in report.problems]
    assert [line for _, line in said] == [4, 9, 14, 16, 19]
    assert "the name 'json' of the I/O manager Json is built in" in said[0][0]
    assert "Needs cannot be made" in said[1][0]
    assert "is that of another, at" in said[2][0]
    assert "no I/O manager 'parket'" in said[3][0]
    assert "no I/O manager 'lake'" in said[4][0]


async def test_a_manager_that_could_not_give_back_what_it_keeps_is_refused(tmp_path: Path) -> None:
    plugin = """
        from freshet import IOManager

        class Csv(IOManager):
            name = "csv"
            def dumps(self, value): ...
        """
    (problem,) = (await load(tmp_path, plugin=plugin)).problems
    assert "Csv has no loads" in problem.message and "loads(self, data, wanted)" in problem.hint and problem.line == 4
