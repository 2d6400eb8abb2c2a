"""When silence counts, whose fault it was, and what is read from a stack: decisions without processes."""

from __future__ import annotations

from pathlib import Path

import freshet
from freshet.executors.heartbeat import LIMIT, TURN, Pulse, Sign
from freshet.executors.isolation import PROBATION, Isolation
from freshet.executors.processes import Vitals
from freshet.executors.stacks import crashed_thread, stack_of
from freshet.executors.verdict import MAX_SUSPECTS, Suspicions, Verdict, judge
from freshet.host.evaluator.page import BACKGROUND, PageView, ThreadView

ASLEEP = Vitals(used=1.0, waited=1.0)


def silence(signs: list[Sign], *, turn: float = TURN) -> float:
    pulse, silent = Pulse(0.0, 0.0), 0.0
    for number, sign in enumerate(signs, 1):
        silent = pulse.silent(number * turn, sign)
    return silent


def test_an_evaluator_that_stands_still_is_silent() -> None:
    assert silence([Sign(3, ASLEEP)] * 5) >= LIMIT


def test_a_step_begun_is_a_sign_of_life() -> None:
    assert silence([Sign(step, ASLEEP) for step in range(20)]) == 0.0


def test_one_that_gets_no_processor_is_not_blamed() -> None:
    wants = Vitals(used=1.0, waited=1.0, runnable=True)
    assert silence([Sign(3, wants)] * 20) <= TURN + 1e-9
    waited = [Sign(3, Vitals(used=1.0, waited=TURN * number, runnable=False)) for number in range(20)]
    assert silence(waited) <= TURN + 1e-9


def test_one_whose_thread_takes_the_processor_is_blamed_though_its_loop_waits() -> None:
    hogged = [Sign(3, Vitals(used=TURN * number, waited=0.9 * TURN * number, runnable=True)) for number in range(7)]
    assert silence(hogged) >= LIMIT


def test_one_that_uses_its_processor_is_blamed() -> None:
    busy = [Sign(3, Vitals(used=TURN * number, runnable=True)) for number in range(7)]
    assert silence(busy) >= LIMIT


def test_a_daemon_that_slept_does_not_count_its_own_silence() -> None:
    assert silence([Sign(3, ASLEEP)] * 4, turn=1.0) <= 1.0 + 3 * TURN + 1e-9
    pulse = Pulse(0.0, 0.0)
    pulse.silent(TURN, Sign(3, ASLEEP))
    assert pulse.silent(TURN + 5.0, Sign(3, ASLEEP)) <= 2 * TURN + 1e-9


FLIGHTS = {11: "one", 12: "two", 13: "three"}
NUMBERS = {0: "one", 1: "two", 2: "three"}


def verdict(page: PageView, *threads: int, dead: bool = False) -> Verdict:
    return judge(page, FLIGHTS, NUMBERS, threads=threads, dead=dead)


def test_who_signs_the_step_did_it() -> None:
    assert verdict(PageView(12, 5)) == Verdict("two", 12)
    assert verdict(PageView(BACKGROUND | 2, 5)) == Verdict("three", None)
    assert verdict(PageView(12, 5, (ThreadView(11, 100, 1),)), dead=True) == Verdict("two", 12)


def test_the_thread_that_ran_or_crashed_did_it() -> None:
    page = PageView(0, 5, (ThreadView(11, 100, 1), ThreadView(13, 300, 3)))
    assert verdict(page, 300) == Verdict("three", 13)
    assert verdict(page, 300, dead=True) == Verdict("three", 13)
    assert verdict(PageView(12, 5, page.threads), 300, dead=True) == Verdict("three", 13)


def test_where_threads_cannot_be_told_apart_all_are_suspects() -> None:
    page = PageView(0, 5, (ThreadView(11, 100, 1), ThreadView(13, 300, 3)))
    assert verdict(page) == Verdict(suspects=("one", "three"))
    assert verdict(page, dead=True) == Verdict(suspects=("one", "three"))
    assert verdict(page, 100, 300) == Verdict(suspects=("one", "three"))


def test_the_only_thread_is_to_blame() -> None:
    assert verdict(PageView(0, 5, (ThreadView(11, 100, 1),)), dead=True) == Verdict("one", 11)


def test_between_steps_a_death_blames_nobody_and_a_silence_everybody() -> None:
    assert verdict(PageView(0, 5), dead=True) == Verdict()
    assert verdict(PageView(0, 5)) == Verdict(suspects=("one", "two", "three"))


def test_few_suspects_are_set_apart_at_once_and_the_guilty_one_is_among_them() -> None:
    suspicions = Suspicions()
    crowd = [f"sensor-{number}" for number in range(40)]
    assert suspicions.most(crowd[:3]) == tuple(crowd[:3])
    first = suspicions.most(["guilty", *crowd[:20]])
    assert len(first) == MAX_SUSPECTS
    suspicions.most(["guilty", *crowd[20:]])
    assert "guilty" in suspicions.most(["guilty", *crowd[10:30]])


def test_probation_ends_and_guilt_does_not() -> None:
    isolation = Isolation()
    isolation.suspected("maybe")
    isolation.caught("guilty")
    isolation.suspected("guilty")
    assert [isolation.behaved("maybe") for _ in range(PROBATION)] == [False] * (PROBATION - 1) + [True]
    assert not any(isolation.behaved("guilty") for _ in range(100))
    assert list(isolation) == ["guilty"]


HOST = Path(freshet.__file__).parent / "host"
TEXT = f"""Fatal Python error: Segmentation fault

Thread 0x00007f0000000001 (most recent call first):
  File "/plugins/b.py", line 3 in wait
  File "{HOST}/evaluator/threads.py", line 9 in _work

Current thread 0x00007f00000000ff (most recent call first):
  File "/plugins/a.py", line 7 in read
  File "/plugins/a.py", line 9 in look
  File "{HOST}/evaluator/evaluate.py", line 40 in look
  File "/usr/lib/python3.11/asyncio/events.py", line 80 in _run

Extension modules: orjson
"""


def test_a_stack_is_read_from_the_plugins_code_on() -> None:
    assert crashed_thread(TEXT) == 0x7F00000000FF
    assert stack_of(TEXT, 0x7F00000000FF) == (
        '  File "/plugins/a.py", line 7 in read\n  File "/plugins/a.py", line 9 in look'
    )
    assert stack_of(TEXT, 0x7F0000000001) == '  File "/plugins/b.py", line 3 in wait'
    assert stack_of(TEXT, 5) == ""
    assert stack_of("", 5) == ""
    assert crashed_thread(TEXT.partition("\n")[2]) == 0
