"""Which item of a `ctx.map` is next: every item ends exactly once, after as many attempts as it may have."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from freshet.definitions.retries import RetrySpec
from freshet.host.fanout.items import Failure, ItemQueue
from freshet.host.messages import ErrorData

NO = ErrorData(type="E", message="no", traceback="")


def queue(count: int, most: int, delay: float = 1.0) -> ItemQueue:
    return ItemQueue(range(count), RetrySpec(max=most, jitter=0.0, delay=delay), random.Random(0))


def test_in_order_and_again_after_the_delay() -> None:
    items = queue(2, 1, delay=5.0)
    assert items.take(0.0) == 0
    assert items.fail(0, Failure(NO), 1.0) == 6.0
    assert items.take(1.0) == 1 and items.take(5.9) is None and items.next_due() == 6.0
    assert items.take(6.0) == 0 and items.attempt(0) == 2
    assert items.fail(0, Failure(NO), 7.0) is None
    items.succeeded(1)
    assert items.left == 0 and list(items.failed) == [0]


def test_what_is_final_is_not_tried_again() -> None:
    items = queue(3, 5)
    for number in range(3):
        assert items.take(0.0) == number
    assert items.fail(0, Failure(ErrorData(type="E", message="", traceback="", final=True)), 0.0) is None
    assert items.fail(1, Failure(NO, retried=False), 0.0) is None
    assert items.fail(2, Failure(NO, canceled=True), 0.0) is None
    assert items.left == 0 and sorted(items.failed) == [0, 1, 2]


def test_it_waits_as_long_as_the_failure_asks_for() -> None:
    items = queue(1, 3, delay=1.0)
    items.take(0.0)
    assert items.fail(0, Failure(ErrorData(type="E", message="", traceback="", after=60.0)), 2.0) == 62.0


@given(
    count=st.integers(0, 8),
    most=st.integers(0, 3),
    moves=st.lists(st.tuples(st.sampled_from(["take", "fail", "succeed", "cancel", "later"]), st.integers(0, 7))),
)
def test_every_item_ends_once(count: int, most: int, moves: list[tuple[str, int]]) -> None:
    """Against a plain model; whatever is left at the end comes to its end."""
    items = queue(count, most, delay=1.0)
    begun: dict[int, int] = dict.fromkeys(range(count), 0)
    busy: set[int] = set()
    over: set[int] = set()
    now = 0.0

    def take() -> int | None:
        item = items.take(now)
        if item is not None:
            assert item not in busy | over
            begun[item] += 1
            assert begun[item] == items.attempt(item) <= most + 1
            busy.add(item)
        return item

    for move, item in [*moves, *[("later", 0), ("take", 0), ("succeed", -1)] * 4 * (count + 1)]:
        match move:
            case "take":
                if take() is None:
                    due = items.next_due()
                    assert due is None or due > now
            case "later":
                now += 10.0
            case "cancel":
                expected = item in begun and item not in busy | over
                assert items.cancel(item, Failure(NO, canceled=True)) is expected
                over |= {item} if expected else set()
            case _:
                chosen = item if item in busy else min(busy) if item < 0 and busy else None
                if chosen is None:
                    continue
                busy.remove(chosen)
                if move == "succeed":
                    items.succeeded(chosen)
                    over.add(chosen)
                elif items.fail(chosen, Failure(NO), now) is None:
                    assert begun[chosen] == most + 1
                    over.add(chosen)
        assert items.left == count - len(over)
    assert over == set(range(count)) and items.take(now) is None
