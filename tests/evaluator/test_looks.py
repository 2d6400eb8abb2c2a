"""Sensors of every form, through a real evaluator: what they see and what comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.evaluator.harness import World, world

from freshet.executors.base import RequestedRun
from freshet.store.records import PartitionDelta, ReportedMaterialization

pytestmark = pytest.mark.anyio


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as one:
        yield one


@pytest.mark.parametrize("sensor", ["coroutine", "function", "async_generator", "generator"])
async def test_each_form_of_sensor_gives_its_result(made: World, sensor: str) -> None:
    end = await made.tick(sensor, cursor=7)
    assert (end.status, end.error) == ("ok", None)
    assert end.runs == (RequestedRun("target", None, "7"),)
    assert not end.cursor_changed


async def test_all_that_a_look_may_say_arrives(made: World) -> None:
    end = await made.tick("everything", "a.csv", cursor={"old": 1})
    assert end.runs == (RequestedRun("job", "k", "once", {"n": [1, 2]}, {"a": "b"}, 3),)
    assert end.partitions == (PartitionDelta("set", (("one", {"size": 1}), ("two", {}))),)
    assert end.reports == (ReportedMaterialization("asset", "one", metadata={"rows": 4}),)
    assert end.skip == "nothing else"
    assert end.cursor == {"now": "2026-01-01T00:00:00+00:00", "hints": ["a.csv"]}
    assert (await made.tick("everything", full=True)).cursor["hints"] is None


async def test_an_outcome_too_large_for_one_message_arrives_whole(made: World) -> None:
    end = await made.tick("commanded", "runs 10000")
    assert [run.run_key for run in end.runs] == [str(number) for number in range(10_000)]


@pytest.mark.parametrize("where", ["raises", "raises_in_thread"])
async def test_what_a_sensor_raises_is_shown_from_its_own_code_on(made: World, where: str) -> None:
    end = await made.tick(where)
    assert end.status == "failed"
    assert end.error is not None
    assert (end.error.type, end.error.message) == ("LookupError", "no such bucket")
    assert end.error.traceback.count('File "') == 1
    assert "zoo.py" in end.error.traceback


async def test_a_sensor_may_ask_for_patience_or_give_up(made: World) -> None:
    later = await made.tick("retries_later")
    assert (later.status, later.after) == ("later", 90.0)
    given_up = await made.tick("gives_up")
    assert given_up.status == "given_up"
    assert given_up.error is not None
    assert given_up.error.message == "the credentials are wrong"


@pytest.mark.parametrize(("how", "status"), [("raises", "failed"), ("later", "later"), ("hangs", "timed_out")])
async def test_a_look_that_failed_has_said_all_the_same_what_waits(made: World, how: str, status: str) -> None:
    end = await made.tick("lags", how, timeout=0.2)
    assert (end.status, end.lag) == (status, (7, datetime(2026, 1, 1, tzinfo=UTC).timestamp()))
    assert end.notice == "polling: far away"


async def test_a_wrong_result_is_named_with_its_sensor(made: World) -> None:
    end = await made.tick("yields_nonsense")
    assert end.status == "failed"
    assert end.error is not None
    assert end.error.message == (
        "sensor 'yields_nonsense' yielded 5 (int); "
        "yield RunRequest, AddPartitions, DeletePartitions, Report, Handled or Skip"
    )


@pytest.mark.parametrize(
    ("cursor", "message"),
    [
        ("nan", "the cursor is nan, which JSON cannot hold"),
        ("tuple", "the cursor is a tuple, which would come back as a list: use a list"),
        ("set", "the cursor is {1} (set): only None, bool, int, float, str, list and dict can be kept"),
    ],
)
async def test_a_cursor_that_json_cannot_hold_fails_the_look(made: World, cursor: str, message: str) -> None:
    end = await made.tick("commanded", f"cursor {cursor}")
    assert end.status == "failed"
    assert end.error is not None
    assert end.error.message == message


@pytest.mark.parametrize("sensor", ["exits", "exits_in_thread", "exits_in_task"])
async def test_an_exit_is_the_sensors_failure_alone(made: World, sensor: str) -> None:
    end = await made.tick(sensor)
    assert end.status == "failed"
    assert (await made.tick("bystander")).status == "ok"
    assert made.zygote.forks == 1


async def test_a_look_past_its_timeout_is_cancelled(made: World) -> None:
    end = await made.tick("hangs", timeout=0.05)
    assert end.status == "timed_out"
    assert end.error is not None
    assert end.error.message == "took longer than its timeout of 0.05 s"
    assert "in hangs" in end.error.traceback
    assert made.zygote.forks == 1


async def test_a_long_look_commits_in_parts(made: World) -> None:
    end = await made.tick("long_look")
    assert [commit.status for commit in made.commits] == ["checkpoint"] * 3 + ["ok"]
    assert [run.run_key for commit in made.commits for run in commit.runs] == ["0", "1", "2", "last"]
    assert len({commit.tick_id for commit in made.commits}) == 4
    assert made.cursors["long_look"] == 3
    assert not end.cursor_changed


async def test_a_refused_checkpoint_ends_the_look(made: World) -> None:
    made.refuse.add("long_look")
    end = await made.tick("long_look")
    assert end.status == "checkpoint"
    made.refuse.clear()
    await made.tick("long_look")
    assert [run.run_key for commit in made.commits for run in commit.runs] == ["0", "1", "2", "last"]


async def test_a_dry_run_goes_past_its_checkpoints_in_one_part(made: World) -> None:
    end = await made.tick("long_look", dry_run=True)
    assert end.status == "ok"
    assert [run.run_key for run in end.runs] == ["0", "1", "2", "last"]
    assert made.commits == []


async def test_a_cancelled_look_ends(made: World) -> None:
    import asyncio

    look = asyncio.ensure_future(made.tick("hangs", timeout=0.5))
    await asyncio.sleep(0)
    made.cancel("hangs")
    await made.until(lambda: made.abandoned == ["hangs"])
    assert (await look).status == "timed_out"  # started again by this engine, and left alone


async def test_a_sensor_is_opened_before_its_first_look_and_closed_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "locked").touch()
    async with world(tmp_path) as made:
        end = await made.tick("opened")
        assert end.status == "failed"
        assert end.error is not None
        assert end.error.type == "ConnectionError"
        (tmp_path / "locked").unlink()
        assert (await made.tick("opened")).cursor is True
        assert not (tmp_path / "closed").exists()
    assert (tmp_path / "closed").exists()


async def test_wakes_arrive_with_their_hints(made: World, tmp_path: Path) -> None:
    (tmp_path / "wakes").write_text("a\nb\n")
    await made.until(lambda: ("waking", ("a", "b")) in made.wakes)


async def test_wakes_that_fail_are_begun_again_and_ask_for_a_full_look(made: World, tmp_path: Path) -> None:
    (tmp_path / "wakes").write_text("fail\n")
    await made.until(lambda: ("waking", None) in made.wakes)
    (tmp_path / "wakes").write_text("a\n")
    await made.until(lambda: ("waking", ("a",)) in made.wakes)


async def test_no_wake_passes_while_nothing_is_watched(made: World, tmp_path: Path) -> None:
    await made.pool.watch(active=False)
    await made.tick("bystander")
    (tmp_path / "wakes").write_text("a\n")
    await made.tick("hangs", timeout=0.1)
    assert made.wakes == []
    await made.pool.watch(active=True)
    await made.until(lambda: made.wakes == [("waking", ("a",))])
