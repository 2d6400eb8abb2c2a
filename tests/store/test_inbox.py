"""The inbox in the store: once each, in order, settled with the tick, let go again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.support import open_database, populate, rows

from freshet.definitions.outcome import Json
from freshet.errors import TickRefused, UnknownName
from freshet.store.inbox import (
    chosen,
    deliveries_of,
    delivery_rows,
    inbox_counts,
    keep_deliveries,
    release,
    settle,
    waiting_deliveries,
)
from freshet.store.probe import probe
from freshet.store.records import HandledDelivery, NewDelivery, PartitionDelta, RunToAdmit, StepToAdmit, TickCommit
from freshet.store.tickers import register_ticker
from freshet.store.ticks import commit_tick


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(tmp_path / "freshet.db")) as opened:
        populate(opened, "a", "b")
        for name in ("one", "two"):
            register_ticker(opened, "sensor", name)
        yield opened


def new(delivery: str, body: bytes = b"{}", *, ticker: int = 1, signed: bool = False, at: float = 5.0) -> NewDelivery:
    digest = hashlib.sha256(body).digest()
    return NewDelivery(ticker, delivery, digest, body, at, "application/json", signed=digest if signed else None)


def keep(db: sqlite3.Connection, *deliveries: NewDelivery) -> list[str]:
    return [one.how for one in keep_deliveries(db, deliveries)]


def waits(
    db: sqlite3.Connection,
    *,
    again: bool = True,
    after: int = 0,
    limit: int = 100,
    size: int = 10_000,
    now: float = 7.0,
) -> Any:
    found, more = waiting_deliveries(db, 1, after, limit, size, again=again, now=now)
    return [one.delivery for one in found], more


def test_the_same_id_is_one_delivery_of_one_sensor(db: sqlite3.Connection) -> None:
    assert keep(db, new("a"), new("a"), new("a", b"[]"), new("a", ticker=2)) == ["new", "same", "other", "new"]
    assert keep(db, new("a"), new("a", b"[]")) == ["same", "other"]


def test_a_signed_digest_under_another_id_is_the_same_delivery(db: sqlite3.Connection) -> None:
    first, copy = keep_deliveries(db, [new("a", signed=True), new("b", signed=True)])
    assert (copy.id, copy.how) == (first.id, "copy")
    assert keep(db, new("c", signed=True, ticker=2), new("d")) == ["new", "new"]


def test_they_are_handed_out_in_order_within_bounds(db: sqlite3.Connection) -> None:
    keep(db, *(new(f"{number}", b"x" * 100 + b"%d" % number) for number in range(6)))
    assert waits(db, limit=4) == (["0", "1", "2", "3"], True)
    assert waits(db, limit=6) == (["0", "1", "2", "3", "4", "5"], False)
    assert waits(db, size=250) == (["0", "1"], True)
    assert waits(db, size=1) == (["0"], True)
    assert waits(db, after=4) == (["4", "5"], False)
    found, more = deliveries_of(db, 1, [2, 5, 99], 0, 1, 1000)
    assert ([one.id for one in found], more) == ([2], True)


def test_the_third_failure_parks_and_a_full_look_alone_tries_again(db: sqlite3.Connection) -> None:
    keep(db, new("bad"), new("good", b"[]"))
    for attempt in (1, 2, 3):
        left, parked = settle(db, 1, attempt, [HandledDelivery(1, "failed", f"no {attempt}")], 6.0)
        assert (left, parked) == ((1, (1,)) if attempt == 3 else (0, ()))
        assert waits(db, again=False) == (["good"], False)
        assert waits(db)[0] == (["good"] if attempt == 3 else ["bad", "good"])
    (row,) = delivery_rows(db, 1, "parked", 10, None)
    assert (row.reason, row.attempts) == ("no 3", 3)
    counts = inbox_counts(db)[1]
    assert (counts.waiting, counts.oldest, counts.parked) == (1, 5.0, 1)


def test_one_that_is_put_off_waits_uncounted_for_a_day_and_fails_then(db: sqlite3.Connection) -> None:
    keep(db, new("busy"), new("good", b"[]"))
    assert settle(db, 1, 1, [HandledDelivery(1, "later", "busy", after=60.0)], 6.0) == (0, ())
    assert (waits(db, again=False), waits(db), waits(db, now=66.0)[0]) == (
        (["good"], False),
        (["good"], False),
        ["busy", "good"],
    )
    settle(db, 1, 2, [HandledDelivery(1, "later", "busy", after=1e9)], 66.0)
    assert waits(db, now=3666.0)[0] == ["busy", "good"], "an hour at the most"
    assert waits(db, now=3665.0)[0] == ["good"]
    (row,) = [one for one in delivery_rows(db, 1, "waiting", 10, None) if one.delivery == "busy"]
    assert (row.attempts, row.reason) == (0, "busy")
    settle(db, 1, 3, [HandledDelivery(1, "later", "busy", after=60.0)], 5.0 + 86_400)
    (row,) = [one for one in delivery_rows(db, 1, "waiting", 10, None) if one.delivery == "busy"]
    assert row.attempts == 1
    assert waits(db)[0] == ["busy", "good"], "with the next full look, as what fails"
    settle(db, 1, 4, [HandledDelivery(1, "later", "busy", after=60.0)], 7.0)
    release(db, 1, [1], again=False)
    assert waits(db, again=False)[0] == ["busy", "good"]


def test_what_is_settled_stays_so(db: sqlite3.Connection) -> None:
    keep(db, new("a"))
    assert settle(db, 2, 1, [HandledDelivery(1, "admitted")], 6.0) == (0, ())
    assert settle(db, 1, 1, [HandledDelivery(1, "filtered", "why")], 6.0) == (1, ())
    assert settle(db, 1, 2, [HandledDelivery(1, "admitted")], 7.0) == (0, ())
    assert [(row.state, row.reason, row.tick_id) for row in delivery_rows(db, 1, None, 9, None)] == [
        ("filtered", "why", 1)
    ]


def job(run_key: str) -> RunToAdmit:
    return RunToAdmit("job", "note", (StepToAdmit("note"),), "test", run_key=run_key)


def commit(tick: int, **parts: Any) -> TickCommit:
    return TickCommit(1, tick, 0, 6.0, 6.0, **parts)


def test_a_delivery_is_settled_with_its_runs_or_neither_is(db: sqlite3.Connection) -> None:
    keep(db, new("a"))
    handled = HandledDelivery(1, "admitted", None, (("note", None, "k"),))
    db.execute("SAVEPOINT tried")
    with pytest.raises(UnknownName):
        lost = RunToAdmit("asset", "raw", (StepToAdmit("raw", (), True),), "t", set="batches", key="nope")
        commit_tick(db, commit(1, runs=(job("k"), lost), deliveries=(handled,)))
    db.execute("ROLLBACK TO tried")
    assert waits(db)[0] == ["a"]
    result = commit_tick(db, commit(2, runs=(job("k"),), deliveries=(handled,)))
    assert (len(result.admitted), result.settled) == (1, 1)
    with pytest.raises(TickRefused):
        commit_tick(db, commit(2, runs=(job("k"),), deliveries=(handled,)))


def test_what_is_let_go_again_runs_again_only_when_asked(db: sqlite3.Connection) -> None:
    keep(db, new("a"), new("b", b"1"))
    handled = HandledDelivery(1, "admitted", None, (("note", None, "k"),))
    commit_tick(db, commit(1, runs=(job("k"), job("other")), deliveries=(handled,)))
    assert release(db, 1, [1, 2], again=False) == 1
    assert waits(db)[0] == ["a", "b"]
    assert len(commit_tick(db, commit(2, runs=(job("k"),), deliveries=(handled,))).admitted) == 0
    assert release(db, 1, [1], again=True) == 1
    result = commit_tick(db, commit(3, runs=(job("k"), job("other")), deliveries=(handled,)))
    assert [one.request for one in result.admitted] == [0]


def test_which_ones_are_meant(db: sqlite3.Connection) -> None:
    keep(db, *(new(f"{at}", b"%d" % at, at=float(at)) for at in range(5)))
    assert chosen(db, 1, None, None, None) == (1, 2, 3, 4, 5)
    assert chosen(db, 1, None, 1.0, 3.0) == (2, 3)
    assert chosen(db, 1, [4, 2], None, None) == (2, 4)
    with pytest.raises(UnknownName, match="no delivery 9"):
        chosen(db, 1, [1, 9], None, None)


def test_probing_finds_who_is_to_blame_and_leaves_nothing(db: sqlite3.Connection) -> None:
    def run(key: str) -> TickCommit:
        step = StepToAdmit("raw", (), True)
        return commit(1, runs=(RunToAdmit("asset", "raw", (step,), "t", set="batches", key=key),))

    added = commit(1, partitions=(PartitionDelta("batches", add=(("new", {}),)),))
    before = [rows(db, f"SELECT count(*) FROM {table}") for table in ("runs", "steps", "events", "partitions")]
    db.execute("BEGIN")
    none, missing, fine, late, after = probe(db, [commit(1), run("new"), added, run("new"), run("nope")])
    db.execute("COMMIT")
    assert (none, fine, late) == (None, None, None)
    assert missing is not None
    assert after is not None
    assert "'nope'" in after
    assert before == [rows(db, f"SELECT count(*) FROM {table}") for table in ("runs", "steps", "events", "partitions")]


Step = tuple[str, Json]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.tuples(st.sampled_from("abcd"), st.sampled_from([b"1", b"2"]))),
        st.tuples(st.just("settle"), st.tuples(st.integers(1, 6), st.sampled_from(["admitted", "filtered", "failed"]))),
        st.tuples(st.just("release"), st.lists(st.integers(1, 6), max_size=3)),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_any_order_of_what_can_happen_agrees_with_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    with closing(open_database(tmp_path_factory.mktemp("inbox") / "freshet.db")) as db:
        register_ticker(db, "sensor", "one")
        bodies, ids = dict[str, bytes](), dict[str, int]()
        state = dict[int, list[Any]]()
        for kind, how in steps:
            if kind == "keep":
                name, body = how
                (got,) = keep_deliveries(db, [new(name, body)])
                expected = "new" if name not in bodies else "same" if bodies[name] == body else "other"
                bodies.setdefault(name, body)
                ids.setdefault(name, got.id)
                state.setdefault(got.id, ["waiting", 0])
                assert (got.how, got.id) == (expected, ids[name])
            elif kind == "settle":
                number, outcome = how
                settle(db, 1, 1, [HandledDelivery(number, outcome)], 6.0)
                if state.get(number, ["gone"])[0] == "waiting":
                    failed = state[number][1] + (outcome == "failed")
                    still = "parked" if failed == 3 else "waiting"
                    state[number] = [still if outcome == "failed" else outcome, failed]
            else:
                expected_count = sum(state[one][0] != "waiting" for one in set(how) if one in state)
                assert release(db, 1, how, again=False) == expected_count
                state.update({one: ["waiting", 0] for one in how if one in state})
        assert {row.id: [row.state, row.attempts] for row in delivery_rows(db, 1, None, 99, None)} == state
        found, _ = waiting_deliveries(db, 1, 0, 99, 9999, again=True, now=0.0)
        assert [one.id for one in found] == sorted(one for one in state if state[one][0] == "waiting")
