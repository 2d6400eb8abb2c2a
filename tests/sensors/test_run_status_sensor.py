"""RunStatusSensor in a whole engine: what it tells, and of what it keeps silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import rig

from freshet import DynamicPartitions, Job, asset, job
from freshet.errors import DefinitionError
from freshet_sensors import RunStatusSensor

pytestmark = pytest.mark.anyio

DAYS = DynamicPartitions("days")


@asset(partitions=DAYS)
def raw(ctx: Any) -> int:
    if ctx.partition.key.startswith("bad"):
        raise ValueError("no such day")
    return 1


@job
def plain() -> None:
    """Succeeds."""


def _notifier(name: str, told: list[Any], *, fails: bool = False) -> Job:
    @job(name=name)
    def tell(run: int, target: str, status: str, error: str | None, partition: str | None) -> None:
        told.append((run, target, status, error, partition))
        if fails:
            raise OSError("the mail server is away")

    return tell


async def test_a_run_that_fails_is_told_of_at_once_with_its_error_and_partition(tmp_path: Path) -> None:
    told: list[Any] = []
    notifier = _notifier("tell", told)
    async with rig(tmp_path, [raw, plain, notifier, RunStatusSensor("watch", target=notifier, interval="1h")]) as one:
        await one.control.add_partitions("days", {"mon": {}, "bad": {}})
        await one.control.materialize(["raw"], key="mon")
        (run,) = await one.control.materialize(["raw"], key="bad")
        await one.control.call("plain", {})
        await one.settle()
        assert told == [(run, "raw", "failed", "no such day", "bad")]


async def test_only_named_targets_and_ends_count(tmp_path: Path) -> None:
    told: list[Any] = []
    notifier = _notifier("tell", told)
    watch = RunStatusSensor("watch", on=("failed", "succeeded"), targets=[plain], target=notifier)
    async with rig(tmp_path, [raw, plain, notifier, watch]) as one:
        await one.control.add_partitions("days", {"bad": {}})
        await one.control.materialize(["raw"], key="bad")
        run = await one.control.call("plain", {})
        await one.settle()
        assert told == [(run, "plain", "succeeded", None, None)]


async def test_two_with_one_target_both_tell(tmp_path: Path) -> None:
    told: list[Any] = []
    notifier = _notifier("tell", told)
    things = [RunStatusSensor(name, on="succeeded", target=notifier) for name in ("mail", "chat")]
    async with rig(tmp_path, [plain, notifier, *things]) as one:
        run = await one.control.call("plain", {})
        await one.settle()
        assert told == [(run, "plain", "succeeded", None, None)] * 2


async def test_notifiers_that_fail_tell_of_no_other_for_ever(tmp_path: Path) -> None:
    told: list[Any] = []
    one_tells, other_tells = _notifier("one_tells", told, fails=True), _notifier("other_tells", told, fails=True)
    things = [raw, plain, one_tells, other_tells]
    things += [RunStatusSensor("one", target=one_tells), RunStatusSensor("other", target=other_tells)]
    async with rig(tmp_path, things) as one:
        await one.control.add_partitions("days", {"bad": {}})
        (run,) = await one.control.materialize(["raw"], key="bad")
        await one.advance(3600)
        assert told == [(run, "raw", "failed", "no such day", "bad")] * 2


async def test_nor_do_those_that_are_told_of_many_at_once(tmp_path: Path) -> None:
    told: list[Any] = []

    def failing(name: str) -> Job:
        @job(name=name)
        def tell(items: list[dict[str, Any]]) -> None:
            told.extend((name, item["run"]) for item in items)
            raise OSError("the mail server is away")

        return tell

    one_tells, other_tells = failing("one_tells"), failing("other_tells")
    things = [raw, one_tells, other_tells]
    things += [
        RunStatusSensor("one", target=one_tells, batch="5s"),
        RunStatusSensor("other", target=other_tells, batch=2),
    ]
    async with rig(tmp_path, things) as one:
        await one.control.add_partitions("days", {"bad": {}, "bad2": {}})
        runs = [run for key in ("bad", "bad2") for run in await one.control.materialize(["raw"], key=key)]
        await one.advance(3600)
        assert sorted(told) == [(name, run) for name in ("one_tells", "other_tells") for run in runs]


async def test_it_begins_now_unless_all_is_asked_for(tmp_path: Path) -> None:
    told: list[Any] = []
    notifier = _notifier("tell", told)
    async with rig(tmp_path, [plain, notifier]) as one:
        await one.control.call("plain", {})
        await one.settle()
    now = RunStatusSensor("now", on="succeeded", target=notifier)
    everything = RunStatusSensor("everything", on="succeeded", target=notifier, start="all")
    async with rig(tmp_path, [plain, notifier, now]):
        assert told == []
    async with rig(tmp_path, [plain, notifier, everything]):
        assert [target for _, target, *_ in told] == ["plain"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": raw}, "takes a job"),
        ({"target": "tell", "on": "lost"}, "'lost' is unknown"),
        ({"target": "tell", "targets": ["tell"]}, "its own runs"),
        ({"target": "tell", "params": ["why"]}, "'why' is unknown"),
        ({"target": "tell", "start": "then"}, "'then' is unknown"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said) as raised:
        RunStatusSensor("wrong", **options)
    assert raised.value.hint
