"""Deliveries in memory: a look is given what the store would have given it, whatever comes, fails and waits again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from freshet.engine import fresh as module
from freshet.engine.fresh import Fresh
from freshet.store.records import NewDelivery, WaitingDelivery

LIMIT = 3


@pytest.fixture(autouse=True, scope="module")
def little_room() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROOM", 5)
        patch.setattr(module, "_BYTES", 40)
        yield


def new(id: int, size: int = 4) -> NewDelivery:
    return NewDelivery(1, str(id), b"", bytes(size), float(id), None, {"x-id": str(id)})


def waiting(id: int, size: int = 4) -> WaitingDelivery:
    return WaitingDelivery(id, str(id), None, {"x-id": str(id)}, 0, float(id), bytes(size))


@dataclass
class Read:
    """A look's question to the store: asked, answered as of some moment, heard."""

    turn: int
    found: list[int] = field(default_factory=list[int])
    more: bool | None = None


class InboxInMemory(RuleBasedStateMachine):
    """`store`: what waits and never failed, in order; `unheard`: committed, and the loop does not know yet."""

    def __init__(self) -> None:
        super().__init__()
        self.fresh = Fresh()
        self.sizes: dict[int, int] = {}
        self.store: list[int] = []
        self.unheard: list[int] = []
        self.given: list[int] = []
        self.asked: Read | None = None
        self.looking = False

    @rule(size=st.sampled_from([1, 4, 39]))
    def commit(self, size: int) -> None:
        id = len(self.sizes) + 1
        self.sizes[id] = size
        self.store.append(id)
        self.unheard.append(id)

    @precondition(lambda self: self.unheard)
    @rule()
    def hear(self) -> None:
        id = self.unheard.pop(0)
        self.fresh.came(id, new(id, self.sizes[id]))

    @precondition(lambda self: self.asked is None and not self.given)
    @rule()
    def look(self) -> None:
        taken = self.fresh.take(LIMIT)
        if taken is None:
            self.asked = Read(self.fresh.asking())
            return
        found, more = taken
        known = [id for id in self.store if id not in self.unheard]
        assert list(found) == [waiting(id, self.sizes[id]) for id in known[:LIMIT]]
        assert more == (len(known) > LIMIT)
        self.given = [one.id for one in found]

    @precondition(lambda self: self.asked is not None and self.asked.more is None)
    @rule()
    def read(self) -> None:
        assert self.asked is not None
        self.asked.found, self.asked.more = self.store[:LIMIT], len(self.store) > LIMIT

    @precondition(lambda self: self.asked is not None and self.asked.more is not None)
    @rule()
    def heard_from_the_store(self) -> None:
        asked, self.asked = self.asked, None
        assert asked is not None
        assert asked.more is not None
        self.fresh.read(asked.turn, [waiting(id, self.sizes[id]) for id in asked.found], more=asked.more)
        self.given = asked.found

    @precondition(lambda self: self.given)
    @rule()
    def the_look_commits(self) -> None:
        while set(self.unheard) & set(self.given):  # the writer answers in order
            self.hear()
        self.store = [id for id in self.store if id not in self.given]
        self.given = []

    @precondition(lambda self: self.given)
    @rule()
    def the_look_fails(self) -> None:
        self.fresh.lose()
        self.given = []

    @rule()
    def something_is_lost(self) -> None:
        self.fresh.lose()


TestInboxInMemory = InboxInMemory.TestCase
TestInboxInMemory.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


def test_what_came_is_there_once_the_store_has_said_that_nothing_else_waits() -> None:
    fresh = Fresh()
    assert fresh.take(9) is None
    fresh.read(fresh.asking(), [], more=False)
    assert fresh.take(9) == ((), False)
    for id in (1, 2, 3):
        fresh.came(id, new(id))
    assert fresh.take(2) == ((waiting(1), waiting(2)), True)
    assert fresh.take(2) == ((waiting(3),), False)


def test_too_much_is_left_to_the_store() -> None:
    fresh = Fresh()
    fresh.read(fresh.asking(), [], more=False)
    fresh.came(1, new(1, 41))
    assert fresh.take(9) is None
    fresh.read(fresh.asking(), [waiting(1, 41)], more=False)
    for id in range(2, 8):
        fresh.came(id, new(id))
    assert fresh.take(9) is None
