"""A sensor that blocks, hangs, crashes or kills its process harms itself alone: the others keep their latency."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.evaluator.harness import World, latencies, percentile, world

pytestmark = pytest.mark.anyio


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as one:
        yield one


@pytest.mark.parametrize("sensor", ["blocks", "blocks_in_task", "spins"])
async def test_a_sensor_that_holds_the_loop_is_found_and_set_apart(made: World, sensor: str) -> None:
    other = asyncio.ensure_future(made.tick("hangs", timeout=1))
    began = time.monotonic()
    end = await made.tick(sensor, timeout=60)
    assert time.monotonic() - began < 30, "it is not waited for until its timeout"
    assert end.status == "timed_out"
    assert end.error is not None
    assert end.error.message.startswith("blocked the evaluator's loop for 0.")
    assert "zoo.py" in end.error.traceback
    assert "asyncio" not in end.error.traceback
    assert [(name, stack) for name, _, stack in made.stalls] == [(sensor, end.error.traceback)]
    assert made.abandoned == ["hangs"]
    assert (await other).status == "timed_out"
    assert set(made.pool.status()) == {"main"}


async def test_on_a_busy_machine_too_it_is_told_where_it_stood(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the shared evaluator, and in one of its own, which takes its time to say it."""
    kill, loop = os.kill, asyncio.get_running_loop()

    def late(pid: int, number: int) -> None:
        if number == signal.SIGUSR1:
            loop.call_later(0.1, kill, pid, number)
        else:
            kill(pid, number)

    monkeypatch.setattr(os, "kill", late)
    for _ in range(2):
        end = await made.tick("blocks", timeout=0.5)
        assert end.error is not None and "zoo.py" in end.error.traceback, end.error
    assert made.zygote.forks == 3


async def test_in_an_evaluator_of_its_own_a_sensor_may_block_until_its_timeout(made: World) -> None:
    await made.tick("blocks", timeout=60)
    began = time.monotonic()
    blocked = asyncio.ensure_future(made.tick("blocks", timeout=1))
    while set(made.pool.status()) != {"main", "blocks"}:
        assert (await made.tick("bystander")).status == "ok"
    end = await blocked
    assert time.monotonic() - began >= 1.0
    assert end.status == "timed_out"
    assert made.abandoned == []
    assert len(made.stalls) == 1


async def test_a_thread_that_never_returns_ends_with_its_evaluator(made: World) -> None:
    other = asyncio.ensure_future(made.tick("hangs", timeout=1))
    end = await made.tick("hangs_in_thread", timeout=0.2)
    assert end.status == "timed_out"
    assert end.error is not None
    assert end.error.message == "took longer than its timeout of 0.2 s, and had to be ended with its evaluator"
    assert "in hangs_in_thread" in end.error.traceback
    assert made.abandoned == ["hangs"]
    await other
    again = await made.tick("hangs_in_thread", timeout=0.2)
    assert again.status == "timed_out"
    assert made.abandoned == ["hangs"]


async def test_a_sensor_that_swallows_its_cancellation_is_ended(made: World) -> None:
    end = await made.tick("swallows_cancellation", timeout=0.1)
    assert end.status == "timed_out"
    assert (await made.tick("bystander")).status == "ok"
    assert [name for name, _, _ in made.stalls] == ["swallows_cancellation"]


async def test_a_thread_left_behind_by_a_look_ends_with_its_evaluator(made: World) -> None:
    end = await made.tick("hangs_in_executor", timeout=0.1)
    assert end.status == "timed_out"
    assert [name for name, _, _ in made.stalls] == ["hangs_in_executor"]
    assert (await made.tick("bystander")).status == "ok"


async def test_a_call_that_keeps_the_interpreter_is_found_among_the_threads(made: World) -> None:
    others = [asyncio.ensure_future(made.tick(name, timeout=5)) for name in ("hangs_in_thread", "hangs")]
    await asyncio.sleep(0)
    end = await made.tick("holds_the_interpreter", timeout=60)
    assert end.status == "timed_out"
    assert end.error is not None
    assert end.error.message.startswith("kept the interpreter from the evaluator's loop for 0.")
    assert "in holds_the_interpreter" in end.error.traceback
    assert sorted(made.abandoned) == ["hangs", "hangs_in_thread"]
    assert [name for name, _, _ in made.stalls] == ["holds_the_interpreter"]
    for other in others:
        other.cancel()


@pytest.mark.parametrize(
    ("sensor", "how"),
    [
        ("ends_the_process", "exit status 7"),
        ("ends_the_process_in_thread", "exit status 7"),
        ("crashes", "killed by SIGSEGV"),
        ("crashes_in_thread", "killed by SIGSEGV"),
        ("crashes_in_executor", "killed by SIGSEGV"),
    ],
)
async def test_a_sensor_that_ends_the_process_has_failed(made: World, sensor: str, how: str) -> None:
    other = asyncio.ensure_future(made.tick("hangs", timeout=1))
    end = await made.tick(sensor)
    assert end.status == "failed"
    assert end.error is not None
    assert end.error.message == f"ended the evaluator: {how}"
    if "SEGV" in how:
        assert "ctypes" in end.error.traceback
    assert made.abandoned == ["hangs"]
    assert (await other).status == "timed_out"
    assert (await made.tick(sensor)).status == "failed"
    assert made.abandoned == ["hangs"]


async def test_a_crash_in_a_thread_is_told_from_the_threads_beside_it(made: World) -> None:
    other = asyncio.ensure_future(made.tick("hangs_in_thread", timeout=3))
    await asyncio.sleep(0)
    end = await made.tick("crashes_in_thread")
    assert end.status == "failed"
    assert made.abandoned == ["hangs_in_thread"]
    other.cancel()


async def test_suspects_are_set_apart_until_they_have_proved_harmless(made: World) -> None:
    """`os._exit` in one of two threads: nothing tells which, so both go; only the guilty one dies again."""
    other = asyncio.ensure_future(made.tick("hangs_in_thread", timeout=0.5))
    await asyncio.sleep(0)
    end = await made.tick("ends_the_process_in_thread")
    assert end.status == "failed"
    assert (await other).status == "timed_out"
    assert sorted(made.abandoned) == ["ends_the_process_in_thread", "hangs_in_thread"]


async def test_a_callback_that_blocks_is_found_by_setting_suspects_apart(made: World) -> None:
    end = await made.tick("blocks_in_callback", timeout=1)
    assert end.status == "timed_out"
    assert made.abandoned == ["blocks_in_callback"]
    assert (await made.tick("bystander")).status == "ok"


async def test_wakes_that_block_are_moved_away(made: World, tmp_path: Path) -> None:
    (tmp_path / "wakes").write_text("block\n")
    while not made.stalls:
        assert (await made.tick("bystander")).status == "ok"
    assert [name for name, _, _ in made.stalls] == ["waking"]
    await made.until(lambda: ("waking", None) in made.wakes)
    (tmp_path / "wakes").write_text("a\n")
    await made.until(lambda: ("waking", ("a",)) in made.wakes)


async def test_an_evaluator_killed_from_outside_blames_nobody(made: World) -> None:
    other = asyncio.ensure_future(made.tick("hangs", timeout=1))
    await made.tick("bystander")
    made.zygote.kill(made.pool.status()["main"])
    assert (await other).status == "timed_out"
    assert made.abandoned == ["hangs"]
    assert made.stalls == []
    await made.until(lambda: ("waking", None) in made.wakes)


async def test_a_sensor_that_holds_the_loop_for_a_moment_is_named_and_at_the_third_time_set_apart(made: World) -> None:
    """On a busy machine one of the holds may last so long that the evaluator is ended for it at once."""
    looks = 0
    while "holds" not in [name for name, _, _ in made.stalls]:
        end = await made.tick("holds")
        assert end.status == "ok" or end.struck
        assert (await made.tick("bystander")).status == "ok"
        looks += 1
    assert looks <= 30, "it is noticed most of the times, if not always"
    before = len(made.offences)
    while not [one for _, one in made.offences[before:] if one.kind == "held"]:
        assert (await made.tick("holds")).status == "ok"
        assert set(made.pool.status()) == {"main", "holds"}
    for name, one in made.offences:
        assert (name, one.moved) == ("holds", made.stalls[0] == (name, one.seconds, one.stack))
        assert one.seconds >= 0.1
        assert "zoo.py" in one.stack and "in holds" in one.stack and "steps.py" not in one.stack, one.stack


async def test_each_evaluator_that_a_sensor_costs_is_an_offence(made: World) -> None:
    ends = [await made.tick("blocks", timeout=0.3) for _ in range(3)]
    assert all(end.struck for end in ends)
    assert [(name, one.kind, one.moved) for name, one in made.offences] == [
        ("blocks", "blocked", True),
        ("blocks", "blocked", False),
        ("blocks", "blocked", False),
    ]
    end = await made.tick("crashes")
    assert end.struck and [(name, one.kind) for name, one in made.offences[3:]] == [("crashes", "ended")]


async def test_a_thread_that_waits_too_long_is_no_strike(made: World) -> None:
    end = await made.tick("hangs_in_thread", timeout=0.2)
    assert (end.status, end.struck) == ("timed_out", False)
    assert [(name, one.kind) for name, one in made.offences] == [("hangs_in_thread", "overdue")]


async def test_others_keep_their_latency_beside_one_that_blocks_every_time(made: World) -> None:
    done = asyncio.Event()

    async def offend() -> None:
        for _ in range(3):
            assert (await made.tick("blocks", timeout=0.4)).status == "timed_out"
        done.set()

    offender = asyncio.ensure_future(offend())
    found = await asyncio.gather(
        latencies(made, "bystander", done, 0.005), latencies(made, "bystander_in_thread", done, 0.005)
    )
    await offender
    for values in found:
        assert percentile(values, 0.5) < 0.2, "it waits for no blocked loop: each of these lasts 400 ms"


async def test_the_garbage_collector_is_nobodys_fault(made: World) -> None:
    end = await made.tick("collects", timeout=60)
    assert (end.status, end.error) == ("ok", None)
    assert made.stalls == []
    assert made.abandoned == []
