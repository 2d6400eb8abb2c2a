"""The inbox in a whole engine, in virtual time: woken at once, tried again by interval, settled with large outcomes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import operator
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import (
    AddPartitions,
    Batch,
    Deliveries,
    Delivery,
    DynamicPartitions,
    Handled,
    Intake,
    RetryLater,
    RunRequest,
    Sensor,
    asset,
    job,
)
from freshet.engine.inbox import InboxFull
from freshet.errors import StoreUnavailable
from freshet.store.inbox import delivery_rows
from freshet.store.records import DeliveryRow, Kept, NewDelivery
from freshet_sensors import WebhookSensor

pytestmark = pytest.mark.anyio

things = DynamicPartitions("things")


@job
def note(n: int) -> None: ...


@asset(partitions=things)
def thing(ctx: Any) -> str:
    return str(ctx.partition.key)


def asked(payload: dict[str, Any]) -> Any:
    """Runs as many as it says; what it says to be missing is."""
    if "boom" in payload:
        raise ValueError("boom")
    keys = [f"{payload['n']}-{number}" for number in range(payload.get("many", 0))]
    if keys:
        yield AddPartitions(things, keys)
    for key in keys:
        yield RunRequest(target="thing", partition=key)
    if "missing" in payload:
        yield RunRequest(target="thing", partition="nobody")
    yield RunRequest(target="note", params={"n": payload["n"]})


def hook(**options: Any) -> WebhookSensor:
    return WebhookSensor("hook", path="hook", scheme="none", map=asked, partitions=things, **options)


def delivery(made: Rig, id: str, **payload: Any) -> NewDelivery:
    found = made.engine.inbox.hook("hook")
    assert found is not None
    body = json.dumps(payload).encode()
    at = made.clock.now()
    return NewDelivery(found.ticker, id, hashlib.sha256(body).digest(), body, at, "application/json")


async def deliver(made: Rig, id: str, **payload: Any) -> Kept:
    """Keep one, and let all come to rest."""
    kept = await made.engine.inbox.keep(delivery(made, id, **payload))
    await made.settle()
    return kept


async def inbox(made: Rig) -> dict[str, DeliveryRow]:
    ticker = made.engine.ticks.sensors["hook"].row.id
    rows = await made.store.read(partial(delivery_rows, ticker_id=ticker, state=None, limit=1000, before=None))
    return {row.delivery: row for row in rows}


async def test_a_delivery_wakes_its_sensor_and_runs_in_no_time(tmp_path: Path) -> None:
    async with rig(tmp_path, [hook(), note, thing]) as made:
        await deliver(made, "a", n=1)
        assert [run.params for run in await made.runs("note")] == [{"n": 1}]
        assert ((await inbox(made))["a"].state, made.engine.inbox.waiting) == ("admitted", 0)
        assert (await deliver(made, "a", n=1)).how == "same"
        assert (await deliver(made, "a", n=2)).how == "other"
        assert (len(await made.runs()), made.engine.inbox.waiting) == (1, 0)


async def test_what_waits_in_one_group_is_answered_together(tmp_path: Path) -> None:
    async with rig(tmp_path, [hook(), note, thing]) as made:
        many = [delivery(made, "a", n=1), delivery(made, "a", n=1), delivery(made, "a", n=2), delivery(made, "b", n=3)]
        kept = await asyncio.gather(*map(made.engine.inbox.keep, many))
        assert [one.how for one in kept] == ["new", "same", "other", "new"]
        await made.settle()
        assert [run.params["n"] for run in await made.runs("note")] == [1, 3]


async def test_the_store_is_read_only_where_others_may_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rig(tmp_path, [hook(interval="1h"), note, thing]) as made:
        read, queries = made.store.read, list[str]()

        async def told(query: Any) -> Any:
            queries.append(getattr(getattr(query, "func", query), "__name__", ""))
            return await read(query)

        monkeypatch.setattr(made.store, "read", told)
        for number in range(3):
            await deliver(made, f"good {number}", n=number)
        await deliver(made, "bad", n=3, boom=True)
        assert "waiting_deliveries" not in queries
        await deliver(made, "after it", n=4)
        assert queries.count("waiting_deliveries") == 1, "one may wait that was given and not settled"
        await deliver(made, "again", n=5)
        assert queries.count("waiting_deliveries") == 1
        assert [run.params["n"] for run in await made.runs("note")] == [0, 1, 2, 4, 5]
        await made.advance(3600)
        assert (await inbox(made))["bad"].attempts == 2


async def test_one_that_fails_is_tried_again_by_interval_and_then_parked(tmp_path: Path) -> None:
    async with rig(tmp_path, [hook(interval="30s"), note, thing]) as made:
        await deliver(made, "bad", n=1, boom=True)
        for attempts in (1, 2):
            row = (await inbox(made))["bad"]
            assert (row.state, row.attempts, row.reason) == ("waiting", attempts, "ValueError: boom")
            await deliver(made, f"good {attempts}", n=attempts)
            assert (await inbox(made))["bad"].attempts == attempts
            assert (await inbox(made))[f"good {attempts}"].state == "admitted"
            assert made.engine.inbox.waiting == 1
            await made.advance(30)
        assert ((await inbox(made))["bad"].state, made.engine.inbox.waiting) == ("parked", 0)
        await made.advance(300)
        assert (await inbox(made))["bad"].attempts == 3


async def test_one_that_asks_for_patience_is_put_off_and_not_counted(tmp_path: Path) -> None:
    tried: list[str] = []

    def patient(payload: dict[str, Any]) -> RunRequest:
        tried.append(payload["name"])
        if payload.get("busy") and tried.count(payload["name"]) <= 4:
            raise RetryLater("the shop is closed", after="100s")
        return RunRequest(params={"n": 1})

    made_of = WebhookSensor("hook", path="hook", scheme="none", map=patient, target=note, interval="30s")
    async with rig(tmp_path, [made_of, note]) as made:
        await deliver(made, "busy", name="busy", busy=True)
        row = (await inbox(made))["busy"]
        assert (row.state, row.attempts, row.reason) == ("waiting", 0, "put off: the shop is closed")
        await made.advance(90)
        await deliver(made, "good", name="good")
        assert (tried, (await inbox(made))["good"].state) == (["busy", "good"], "admitted")
        await made.advance(500)
        row = (await inbox(made))["busy"]
        assert (row.state, row.attempts, tried.count("busy"), made.engine.inbox.waiting) == ("admitted", 0, 5, 0)


async def test_a_large_outcome_settles_its_deliveries_too_and_those_that_cannot_be_fail_alone(tmp_path: Path) -> None:
    async with rig(tmp_path, [hook(interval="1h"), note, thing], workers=8) as made:
        await made.control.pause("hook")
        for number in range(4):
            more: dict[str, Any] = {"missing": True} if number == 2 else {}
            await deliver(made, f"d{number}", n=number, many=150, **more)
        await made.control.resume("hook")
        await made.settle()
        found = await inbox(made)
        assert [found[f"d{number}"].state for number in range(4)] == ["admitted", "admitted", "waiting", "admitted"]
        assert "nobody" in (found["d2"].reason or "")
        assert sorted(run.params["n"] for run in await made.runs("note")) == [0, 1, 3]
        assert len(await made.runs("thing")) == 450
        assert made.engine.inbox.waiting == 1
        with closing(sqlite3.connect(tmp_path / "freshet.db")) as db:
            (keys,) = db.execute("SELECT count(*) FROM partitions WHERE key LIKE '2-%'").fetchone()
        assert keys == 0


async def test_a_full_inbox_refuses_and_takes_again_when_it_is_empty(tmp_path: Path) -> None:
    async with rig(tmp_path, [hook(), note, thing]) as made:
        made.engine.inbox._limit = 2  # pyright: ignore[reportPrivateUsage]
        await made.control.pause("hook")
        await deliver(made, "a", n=1)
        await deliver(made, "b", n=2)
        with pytest.raises(InboxFull, match="2 deliveries wait"):
            await deliver(made, "c", n=3)
        await made.control.resume("hook")
        await made.settle()
        assert (await deliver(made, "c", n=3)).how == "new"


async def test_a_store_that_cannot_write_takes_nothing_and_counts_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path, [hook(), note, thing]) as made:
        with closing(sqlite3.connect(tmp_path / "freshet.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):
                await made.engine.inbox.keep(delivery(made, "a", n=1))
            other.execute("ROLLBACK")
        assert made.engine.inbox.waiting == 0
        assert (await deliver(made, "a", n=1)).how == "new"


async def test_what_waited_when_the_daemon_went_is_looked_at_when_it_is_back(tmp_path: Path) -> None:
    async with rig(tmp_path, [hook(), note, thing], stop=False) as made:
        await made.control.pause("hook")
        await deliver(made, "a", n=1)
    async with rig(tmp_path, [hook(), note, thing]) as made:
        assert made.engine.inbox.waiting == 1
        await made.control.resume("hook")
        await made.settle()
        assert ((await inbox(made))["a"].state, made.engine.inbox.waiting) == ("admitted", 0)


async def test_what_a_sensor_that_is_gone_left_behind_fills_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path, [hook(), note, thing]) as made:
        await made.control.pause("hook")
        await deliver(made, "a", n=1)
    async with rig(tmp_path, [note, thing]) as made:
        assert (made.engine.inbox.waiting, made.engine.inbox.hook("hook")) == (0, None)


class Clings(Sensor):
    """Handles again what an earlier look was given."""

    def __init__(self) -> None:
        super().__init__("hook", intake=Intake("hook", "none"), interval="1s")
        self.found: list[Any] = []

    async def evaluate(self, ctx: Any) -> Any:
        self.found.extend(await ctx.inbox())
        for one in self.found:
            yield Handled(one, results=[RunRequest("note", params={"n": 1})])


async def test_what_is_settled_is_not_admitted_again_by_a_sensor_that_clings_to_it(tmp_path: Path) -> None:
    async with rig(tmp_path, [Clings(), note]) as made:
        await deliver(made, "a")
        await made.advance(5)
        assert len(await made.runs("note")) == 1
        (state,) = made.control.sensors()
        assert "did not give 1 to this look" in str(state.last_error)


class Rejects(Sensor):
    """Wants runs of what it does not take."""

    outcome: Any = "rejected"

    async def evaluate(self, ctx: Any) -> Any:
        for one in await ctx.inbox():
            yield Handled(one, self.outcome, "no", results=[RunRequest("note", params={"n": 1})])


@pytest.mark.parametrize("outcome", ["rejected", "filtered"])
async def test_what_is_not_admitted_leads_to_nothing(tmp_path: Path, outcome: str) -> None:
    sensor = Rejects("hook", intake=Intake("hook", "none"), interval="1s")
    sensor.outcome = outcome
    async with rig(tmp_path, [sensor, note]) as made:
        await deliver(made, "a")
        await made.advance(5)
        assert await made.runs() == []
        row = (await inbox(made))["a"]
        assert (row.state, f"of a delivery that is {outcome}" in str(row.reason)) == ("parked", True)


class Held(Sensor):
    """Fails with what it was given, once it may."""

    def __init__(self) -> None:
        super().__init__("hook", intake=Intake("hook", "none"), interval="1h")
        self.given, self.go = asyncio.Event(), asyncio.Event()

    async def evaluate(self, ctx: Any) -> None:
        found = await ctx.inbox()
        if found and found[0] and not ctx.dry_run:
            self.given.set()
            await self.go.wait()
            raise RuntimeError("fell")


async def test_a_dry_run_changes_nothing_of_what_a_look_was_given(tmp_path: Path) -> None:
    held = Held()
    async with rig(tmp_path, [held, note]) as made:
        await made.engine.inbox.keep(delivery(made, "a", n=1))
        await held.given.wait()
        assert (await made.control.tick("hook", dry_run=True)).error is None
        held.go.set()
        await made.settle()
        assert (await inbox(made))["a"].attempts == 1


class Unlucky(Sensor):
    """Its own place is away: before it takes a delivery out, or behind the last."""

    def __init__(self, *, before: bool) -> None:
        super().__init__("hook", intake=Intake("hook", "none"), interval="1s", timeout="1s")
        self.before, self.away = before, "raises"

    async def connect(self) -> None:
        if self.away == "raises":
            raise OSError("the database is away")
        if self.away == "hangs":
            await asyncio.sleep(3600)

    async def evaluate(self, ctx: Any) -> Any:
        found = await ctx.inbox()
        if self.before:
            await self.connect()
        for one in found:
            yield Handled(one, "filtered", "done")
        await self.connect()


@pytest.mark.parametrize("away", ["raises", "hangs"])
@pytest.mark.parametrize("before", [True, False])
async def test_what_fails_with_no_delivery_in_hand_is_the_doing_of_none(
    tmp_path: Path, before: bool, away: str
) -> None:
    sensor = Unlucky(before=before)
    async with rig(tmp_path, [sensor, note]) as made:
        sensor.away = away
        for id in ("a", "b"):
            await made.engine.inbox.keep(delivery(made, id, n=1))
        await made.advance(60)
        (state,) = made.control.sensors()
        assert state.failures > 3
        assert [(row.state, row.attempts) for row in (await inbox(made)).values()] == [("waiting", 0)] * 2
        sensor.away = ""
        await made.advance(60)
        assert [row.state for row in (await inbox(made)).values()] == ["filtered"] * 2


def first_of(few: Deliveries) -> object:
    first, *_ = few
    return first


def matched(few: Deliveries) -> object:
    match few:
        case [first, *_]:
            return first
        case _:
            return None


def joined(few: Deliveries) -> object:
    add: Any = operator.add
    return add((), few), add(few, ())


ITEM, SLICE = operator.itemgetter(0), operator.itemgetter(slice(1))


@pytest.mark.parametrize("take", [list, tuple, ITEM, SLICE, first_of, matched, joined])
def test_who_takes_one_out_has_taken_it(take: Callable[[Any], object]) -> None:
    taken: list[bool] = []
    few = Deliveries.of([Delivery(1, "a", b""), Delivery(2, "b", b"")], more=False)
    few.when_taken = lambda: taken.append(True)
    assert (len(few), bool(few), few.more, taken) == (2, True, False, [])
    take(few)
    assert taken == [True]


class Careless(Sensor):
    """Handles one of two, and falls over the words of some."""

    async def evaluate(self, ctx: Any) -> Any:
        for number, one in enumerate(await ctx.inbox()):
            if "fall" in one.payload:
                raise RuntimeError("fell")
            if number % 2 == 0:
                yield Handled(one, "filtered", "even")


async def test_what_a_sensor_does_not_handle_waits_and_what_fells_it_is_parked(tmp_path: Path) -> None:
    sensor = Careless("hook", intake=Intake("hook", "none"), interval="1s")
    async with rig(tmp_path, [sensor, note]) as made:
        await made.control.pause("hook")
        for id, payload in (("a", {}), ("b", {}), ("c", {"fall": 1}), ("d", {})):
            await deliver(made, id, **payload)
        await made.control.resume("hook")
        await made.advance(60)
        assert {id: row.state for id, row in (await inbox(made)).items()} == {
            "a": "filtered", "b": "filtered", "c": "parked", "d": "filtered"
        }  # fmt: skip
        assert "the look failed: fell" in ((await inbox(made))["c"].reason or "")


async def test_deliveries_that_become_one_run_or_are_filled_by_templates_are_not_short_of_parameters(
    tmp_path: Path,
) -> None:
    @job
    def digest(items: list[dict[str, Any]]) -> None: ...

    def batched(payload: dict[str, Any]) -> Any:
        yield RunRequest(target="digest", params={"about": payload["n"]})

    def bare(payload: dict[str, Any]) -> Any:
        yield RunRequest(target="note", tags={"n": str(payload["n"])})

    several = WebhookSensor("hook", path="hook", scheme="none", map=batched, target=digest, batch=Batch(2, "5s"))
    filled = WebhookSensor("hook", path="hook", scheme="none", map=bare, target=note, params={"n": "{tags.n}"})
    (tmp_path / "several").mkdir()
    (tmp_path / "filled").mkdir()
    async with rig(tmp_path / "several", [several, digest]) as made:
        for number in (1, 2):
            await deliver(made, f"d{number}", n=number)
        assert [run.params for run in await made.runs()] == [{"items": [{"about": 1}, {"about": 2}]}]
    async with rig(tmp_path / "filled", [filled, note]) as made:
        await deliver(made, "d", n=7)
        await deliver(made, "e", n="x")
        assert [run.params for run in await made.runs()] == [{"n": "7"}]
        refused = (await inbox(made))["e"]
        assert refused.state != "admitted" and "'n': Input should be a valid integer" in str(refused.reason)


async def test_the_inbox_and_what_waits_for_release_are_read_at_start_alone(tmp_path: Path) -> None:
    """What came since is known here and not told by the store: read again, it would be lost or counted twice."""
    async with rig(tmp_path, [hook(), thing, note]) as made:
        engine = made.engine
        with pytest.raises(AssertionError, match="at start"):
            engine.inbox.adopt(engine.instruments.in_force.definitions, {})
        with pytest.raises(AssertionError, match="at start"):
            await engine.pending.load(engine.ticks.sensors.values())
