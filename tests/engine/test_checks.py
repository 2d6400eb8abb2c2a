"""Checks in virtual time: when they run, what they say, and what a blocking one stops."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import AutomationCondition, CheckResult, DynamicPartitions, asset, check
from freshet.engine.clock import SimulatedClock
from freshet.errors import FreshetError
from freshet.store.checks import check_summaries
from freshet.store.records import Event, ImportedCheck

pytestmark = pytest.mark.anyio

EAGER = AutomationCondition.eager()


async def steps(one: Rig, run: int = -1) -> list[tuple[str, str]]:
    return [(step.name, step.state) for step in (await one.runs())[run].steps]


async def said(one: Rig) -> list[tuple[str, str, Any]]:
    found = [event for event in await one.events() if event.type.startswith("check_")]
    return [(event.type, _data(event)["check"], _data(event).get("metadata")) for event in found]


def _data(event: Event) -> dict[str, Any]:
    data: dict[str, Any] = event.data  # pyright: ignore[reportAssignmentType]
    return data


def chain(verdicts: Callable[[float], Any], **options: Any) -> tuple[list[object], list[float]]:
    """`sales` with a check, and `report` below it; and the value of `sales`, for tests to change."""
    values = [1.0]

    @asset
    def sales() -> float:
        return values[0]

    @asset(automation=EAGER)
    def report(sales: float) -> float:
        return sales * 2

    @check(asset=sales, **options)
    def good(sales: float) -> Any:
        return verdicts(sales)

    return [sales, report, good], values


async def test_a_check_runs_after_its_asset_with_its_value_whatever_it_returns(tmp_path: Path) -> None:
    @asset
    def sales() -> float:
        return 4.0

    @check(asset="sales")
    def positive(sales: float) -> bool:
        """More than nothing."""
        return sales > 0

    @check(asset=sales)
    async def small(ctx: Any, sales: float) -> CheckResult:
        ctx.metadata(seen=sales)
        return CheckResult(sales < 3, metadata={"most": 3}, severity="warn")

    async with rig(tmp_path, [sales, positive, small]) as one:
        await one.control.materialize(["sales"])
        await one.settle()
        assert await steps(one) == [
            ("sales", "succeeded"),
            ("sales.positive", "succeeded"),
            ("sales.small", "succeeded"),
        ]
        assert await one.states() == ["succeeded"]
        assert await said(one) == [
            ("check_passed", "positive", None),
            ("check_failed", "small", {"seen": 4.0, "most": 3}),
        ]
        last = (await one.events("check_failed"))[0]
        assert (last.asset, last.run_id, _data(last)["severity"], _data(last)["blocking"]) == (
            "sales",
            1,
            "warn",
            False,
        )


async def test_a_failed_blocking_check_stops_what_is_below_it_in_the_run(tmp_path: Path) -> None:
    things, values = chain(lambda sales: sales > 0, blocking=True)
    async with rig(tmp_path, things) as one:
        values[0] = -1.0
        await one.control.materialize(["sales"], downstream=True)
        await one.settle()
        assert await steps(one) == [("sales", "succeeded"), ("sales.good", "failed"), ("report", "skipped")]
        (run,) = await one.runs()
        error: Any = run.steps[1].error
        assert (run.state, error["type"]) == ("failed", "CheckFailed")
        assert await said(one) == [("check_failed", "good", None)]


async def test_what_is_downstream_hears_of_an_update_once_blocking_checks_have_passed(tmp_path: Path) -> None:
    things, values = chain(lambda sales: sales > 0, blocking=True)
    clock = SimulatedClock()
    durations = {"sales": 10.0, "sales.good": 10.0, "report": 1.0}
    async with rig(tmp_path, things, clock=clock, duration=lambda step: durations[step.name]) as one:
        values[0] = -1.0
        await one.control.materialize(["sales"])
        await one.advance(15.0)
        assert await one.states("report") == []  # made, and not let through
        await one.advance(600.0)
        assert await one.states("report") == []
        (above,) = (await one.control.why("report")).dependencies
        assert (above.materialized, above.held.count, above.holds) == (1, 1, "hard")
        values[0] = 2.0
        await one.control.materialize(["sales"])
        await one.advance(15.0)
        assert await one.states("report") == []
        await one.advance(5.5)
        assert await one.states("report") == ["started"]
        events = [event.type for event in await one.events() if event.asset == "sales"][-3:]
        assert events == ["started", "materialized", "check_passed"]


async def test_a_failure_that_is_no_error_or_not_blocking_stops_nothing(tmp_path: Path) -> None:
    for folder, options in (("warn", {"blocking": True, "severity": "warn"}), ("open", {"blocking": False})):
        things, _ = chain(lambda sales: False, **options)
        (tmp_path / folder).mkdir()
        async with rig(tmp_path / folder, things) as one:
            await one.control.materialize(["sales"], downstream=True)
            await one.settle()
            assert set(await one.states()) == {"succeeded"}
            assert (await said(one))[0] == ("check_failed", "good", None)


def returning(value: Any, sales: float) -> Any:
    return value


async def test_a_check_that_cannot_say_has_failed_and_says_why(tmp_path: Path) -> None:
    def raises(sales: float) -> bool:
        raise ValueError("no ruler")

    things, _ = chain(raises, blocking=True, severity="warn")
    async with rig(tmp_path, things) as one:
        await one.control.materialize(["sales"])
        await one.settle()
        assert await steps(one) == [("sales", "succeeded"), ("sales.good", "failed")]
        (failed,) = await one.events("check_failed")
        assert _data(failed)["error"] == {"type": "ValueError", "message": "no ruler"}
        assert await one.states("report") == []
    for returned, words in ((None, "returned None"), (1, "returned 1")):
        things, _ = chain(partial(returning, returned))
        (tmp_path / str(returned)).mkdir()
        async with rig(tmp_path / str(returned), things) as one:
            await one.control.materialize(["sales"])
            await one.settle()
            (failed,) = await one.events("check_failed")
            assert words in _data(failed)["error"]["message"]


async def test_a_check_is_tried_again_and_a_retried_run_makes_only_what_is_left(tmp_path: Path) -> None:
    calls = [0]

    def third_time(sales: float) -> bool:
        calls[0] += 1
        if calls[0] < 2:
            raise OSError("away")
        return calls[0] > 2

    things, values = chain(third_time, blocking=True, retries=1)
    async with rig(tmp_path, things) as one:
        values[0] = 3.0
        (run_id,) = await one.control.materialize(["sales"], downstream=True)
        await one.advance(10.0)
        assert (calls[0], await one.states()) == (2, ["failed"])
        await one.control.retry(run_id)
        await one.advance(10.0)
        assert await steps(one, 1) == [("sales.good", "succeeded"), ("report", "succeeded")]
        assert [kind for kind, *_ in await said(one)] == ["check_failed", "check_passed"]


batches = DynamicPartitions("batches")


def partitioned(*, whole: bool = False) -> list[object]:
    @asset(partitions=batches)
    def raw(ctx: Any) -> int:
        return int(ctx.partition.metadata["rows"])

    @asset(automation=EAGER)
    def total(ctx: Any, raw: dict[str, int]) -> dict[str, Any]:
        return {"sum": sum(raw.values()), "without": sorted(ctx.missing_inputs["raw"])}

    @check(asset=raw, blocking=True)
    def filled(ctx: Any, raw: int) -> bool:
        assert ctx.asset == "raw" and ctx.partition.key
        return raw > 0

    @check(asset=raw, whole=True)
    def enough(raw: dict[str, int]) -> CheckResult:
        return CheckResult(len(raw) > 1, metadata={"keys": sorted(raw)})

    return [raw, total, filled, *([enough] if whole else [])]


async def test_one_bad_partition_is_left_out_of_what_takes_many(tmp_path: Path) -> None:
    async with rig(tmp_path, partitioned()) as one:
        await one.control.add_partitions("batches", {"a": {"rows": 2}, "b": {"rows": 0}, "c": {"rows": 3}})
        for key in "abc":
            await one.control.materialize(["raw"], key=key)
        await one.advance(120.0)
        assert await one.states("raw") == ["succeeded", "failed", "succeeded"]
        assert '{"sum":5,"without":["b"]}' in [path.read_text() for path in tmp_path.glob("values/total/**/*.json")]


async def test_a_check_of_the_whole_takes_all_partitions_by_key(tmp_path: Path) -> None:
    async with rig(tmp_path, partitioned(whole=True)) as one:
        await one.control.add_partitions("batches", {"a": {"rows": 0}, "b": {"rows": 1}})
        for key in "ab":
            await one.control.materialize(["raw"], key=key)
            await one.settle()
        told = [each for each in await said(one) if each[1] == "enough"]
        assert told == [("check_failed", "enough", {"keys": ["a"]}), ("check_passed", "enough", {"keys": ["a", "b"]})]
        assert {event.partition for event in await one.events("check_passed") if _data(event)["check"] == "enough"} == {
            0
        }


async def test_a_check_may_compare_with_another_asset(tmp_path: Path) -> None:
    @asset(partitions=batches)
    def raw() -> int:
        return 2

    @asset
    def limit() -> int:
        return 5

    @asset
    def totals(raw: dict[str, int]) -> int:
        return sum(raw.values())

    @check(asset=raw)
    def below(raw: int, limit: int) -> bool:
        return raw < limit

    @check(asset=totals)
    def adds_up(totals: int, raw: dict[str, int]) -> bool:
        return totals == sum(raw.values()) == 4

    async with rig(tmp_path, [raw, limit, totals, below, adds_up]) as one:
        await one.control.add_partitions("batches", {"a": {}, "b": {}})
        await one.control.materialize(["limit"])
        await one.settle()
        for key in "ab":
            await one.control.materialize(["raw"], key=key)
        await one.settle()
        await one.control.materialize(["totals"])
        await one.settle()
        assert [kind for kind, *_ in await said(one)] == ["check_passed"] * 3


async def test_what_is_held_is_held_after_a_restart_too(tmp_path: Path) -> None:
    things, values = chain(lambda sales: sales > 0, blocking=True)
    clock = SimulatedClock()
    async with rig(tmp_path, things, clock=clock, stop=False) as one:
        values[0] = -1.0
        await one.control.materialize(["sales"])
        await one.settle()
    async with rig(tmp_path, things, clock=clock) as one:
        await one.advance(300.0)
        assert await one.states("report") == []
        values[0] = 1.0
        await one.control.materialize(["sales"])
        await one.settle()
        assert await one.states("report") == ["succeeded"]


async def test_checks_alone_let_through_what_they_held_and_make_nothing(tmp_path: Path) -> None:
    limit = [0.0]
    things, values = chain(lambda sales: sales > limit[0], blocking=True)
    async with rig(tmp_path, things) as one:
        values[0] = -1.0
        await one.control.materialize(["sales"])
        await one.settle()
        limit[0] = -5.0
        await one.control.verify("sales", checks=["good"])
        await one.settle()
        assert await steps(one, 1) == [("sales.good", "succeeded")]
        assert [run.target for run in await one.runs()] == ["sales", "sales", "report"]
        assert len(await one.events("materialized")) == 2
        limit[0] = 0.0
        await one.control.verify("sales")
        await one.settle()
        assert await one.states() == ["failed", "succeeded", "succeeded", "failed"]


@pytest.mark.parametrize(
    ("asset_name", "key", "names", "words"),
    [
        ("raw", None, (), "each of one partition"),
        ("raw", "a", ("file",), "has no check 'file' .*filled"),
        ("total", None, (), "has no checks"),
        ("rav", None, (), "no asset 'rav'"),
        ("raw", "z", (), "'z'"),
    ],
)
async def test_what_cannot_be_verified_is_told(
    tmp_path: Path, asset_name: str, key: str | None, names: tuple[str, ...], words: str
) -> None:
    async with rig(tmp_path, partitioned()) as one:
        await one.control.add_partitions("batches", {"a": {"rows": 1}})
        with pytest.raises(FreshetError, match=words):
            await one.control.verify(asset_name, key=key, checks=names)


async def test_results_from_elsewhere_are_heard_by_conditions_and_stop_nothing(tmp_path: Path) -> None:
    passed = AutomationCondition.any_deps_match(AutomationCondition.check_passed("dbt:unique"))

    @asset(partitions=batches)
    def raw() -> int:
        return 1

    @asset(partitions=batches, automation=passed.newly_true() & ~AutomationCondition.in_progress())
    def published(raw: int) -> int:
        return raw

    async with rig(tmp_path, [raw, published]) as one:
        await one.control.add_partitions("batches", {"a": {}, "b": {}})
        for key in "ab":
            await one.control.materialize(["raw"], key=key)
        await one.settle()
        results = [ImportedCheck("raw", "dbt:unique", key == "b", key=key, metadata={"failures": 1}) for key in "ab"]
        assert await one.control.record_checks(results) == 2
        await one.settle()
        assert [run.key for run in await one.runs("published")] == ["b"]
        (found,) = await one.store.read(partial(check_summaries, asset="raw"))
        assert (found.name, found.passed, found.failed, found.failing) == ("dbt:unique", 1, 1, ("a",))
        await one.control.materialize(["raw"], key="a")
        await one.settle()
        (found,) = await one.store.read(partial(check_summaries, asset="raw"))
        assert (found.passed, found.failed) == (1, 0)  # what was looked at is there no more
        await one.control.delete_partitions("batches", ["b"])
        (found,) = await one.store.read(partial(check_summaries, asset="raw"))
        assert (found.passed, found.failed) == (0, 0)
        with pytest.raises(FreshetError, match="declared one"):
            await one.control.record_checks([ImportedCheck("raw", "plain", True)])
