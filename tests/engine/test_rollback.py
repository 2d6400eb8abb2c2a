"""Back to an earlier tick: cursor and ledger as they were; what ran since runs once, unless asked for again."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.rig import Rig, rig

from freshet import RunRequest, job, sensor
from freshet.engine.clock import SimulatedClock
from freshet.errors import UnknownName
from freshet.store.queries import ticks
from freshet.store.tickers import ledger_page
from freshet.store.views import TickRow

pytestmark = pytest.mark.anyio


@job
def notify(ctx: Any, key: str = "", version: str = "") -> None:
    """Does nothing."""


class Folder:
    """Items with versions; the sensor asks for a run of each that its ledger does not hold as it is."""

    def __init__(self, **options: Any) -> None:
        self.items: dict[str, str] = {}

        @sensor(name="landing", interval="1h", target="notify", **options)
        def landing(ctx: Any) -> Iterable[RunRequest]:
            for key in list(ctx.ledger.absent(self.items)):
                ctx.ledger.remove(key)
                ctx.cursor = (ctx.cursor or 0) + 1
            for key, version in self.items.items():
                if not ctx.ledger.seen(key, version):
                    ctx.ledger.add(key, version)
                    ctx.cursor = (ctx.cursor or 0) + 1
                    yield RunRequest(run_key=f"{key}@{version}", params={"key": key, "version": version})

        self.sensor = landing

    async def holds(self, found: Rig, **items: str) -> None:
        self.items = items
        await found.control.tick("landing")
        await found.settle()


async def history(found: Rig) -> list[TickRow]:
    return list(reversed(await found.store.read(partial(ticks, sensor="landing", limit=1000))))


async def ledger(found: Rig) -> dict[str, bytes]:
    row = found.engine.desk.find("landing").row
    page = await found.store.read(partial(ledger_page, ticker_id=row.id, after=b"", limit=10_000))
    return {entry.key: entry.version for entry in page}


async def ran(found: Rig) -> list[str]:
    return [run.run_key or "" for run in await found.runs()]


async def test_cursor_and_ledger_go_back_and_nothing_runs_twice(tmp_path: Path) -> None:
    folder = Folder()
    async with rig(tmp_path, [notify, folder.sensor]) as found:
        await folder.holds(found, a="1", b="1")
        (first,) = await history(found)
        before = await ledger(found)
        await folder.holds(found, a="2", c="1")
        preview = await found.control.roll_back("landing", first.id, dry_run=True)
        assert (preview.cursor_before, preview.cursor) == (5, 2)
        assert (preview.ledger_removed, preview.ledger_restored) == (1, 2), "c goes; a and b are as they were"
        assert [(one["run_key"], one["run_id"]) for one in preview.run_keys] == [("a@2", 3), ("c@1", 4)]
        assert (await ledger(found)).keys() == {"a", "c"}, "a preview changes nothing"
        await found.control.pause("landing")
        done = await found.control.roll_back("landing", first.id)
        assert done.cursor == 2
        assert found.engine.desk.find("landing").row.cursor == 2
        assert await ledger(found) == before
        assert found.control.sensors()[0].status == "paused", "it stays as it was"
        await found.control.resume("landing")
        await found.settle()
        assert await ran(found) == ["a@1", "b@1", "a@2", "c@1"]
        assert (await history(found))[-1].dropped[0]["run_key"] == "a@2"


async def test_again_frees_the_run_keys_of_since(tmp_path: Path) -> None:
    folder = Folder()
    async with rig(tmp_path, [notify, folder.sensor]) as found:
        await folder.holds(found, a="1")
        (first,) = await history(found)
        await folder.holds(found, a="1", b="1")
        await found.control.roll_back("landing", first.id, again=True)
        await found.settle()
        assert await ran(found) == ["a@1", "b@1", "b@1"]


async def test_a_request_that_waits_stays_and_runs_once_also_again(tmp_path: Path) -> None:
    folder = Folder(debounce="10s")
    async with rig(tmp_path, [notify, folder.sensor]) as found:
        await folder.holds(found, a="1")
        (first,) = await history(found)
        await found.advance(10)
        await folder.holds(found, a="1", b="1")
        report = await found.control.roll_back("landing", first.id, again=True)
        assert (report.waiting, report.run_key_count) == (1, 0)
        await found.advance(60)
        assert await ran(found) == ["a@1", "b@1"]


async def test_a_large_rollback_is_whole_too(tmp_path: Path) -> None:
    folder = Folder()
    async with rig(tmp_path, [notify, folder.sensor]) as found:
        await folder.holds(found, a="1")
        (first,) = await history(found)
        await folder.holds(found, **{f"k{n}": "1" for n in range(2000)})
        assert len(await found.runs()) == 2001
        await found.control.pause("landing")
        report = await found.control.roll_back("landing", first.id, again=True)
        assert (report.ledger_removed, report.ledger_restored, report.run_key_count) == (2000, 1, 2000)
        assert (await ledger(found)).keys() == {"a"}
        await found.control.resume("landing")
        await found.settle()
        assert len(await found.runs()) == 4001


async def test_a_cursor_set_by_hand_is_part_of_the_history(tmp_path: Path) -> None:
    folder = Folder()
    async with rig(tmp_path, [notify, folder.sensor]) as found:
        await folder.holds(found, a="1")
        await found.control.set_cursor("landing", 70)
        await folder.holds(found, a="1", b="1")
        first, by_hand, _ = await history(found)
        assert (by_hand.skip, by_hand.cursor_before, by_hand.cursor) == ("set by hand", 1, 70)
        await found.control.pause("landing")
        assert (await found.control.roll_back("landing", by_hand.id)).cursor == 70
        assert (await found.control.roll_back("landing", first.id)).cursor == 1


async def _breathe() -> None:
    await asyncio.sleep(0)


async def test_a_look_in_flight_is_refused_and_one_by_hand_is_answered(tmp_path: Path) -> None:
    slow = anyio.Event()

    @sensor(interval="1h")
    async def landing(ctx: Any) -> None:
        ctx.cursor = (ctx.cursor or 0) + 1
        if ctx.cursor > 1:
            await slow.wait()

    async with rig(tmp_path, [landing]) as found:
        (first,) = await history(found)
        found.engine.ticks.woken("landing", None)
        assert found.control.sensors()[0].in_flight
        back = asyncio.create_task(found.control.roll_back("landing", first.id))
        with anyio.fail_after(20):
            while not back.done():
                await asyncio.sleep(0.005)
                await found.clock.advance(0.001, _breathe)
        assert (await back).cursor == 1
        slow.set()
        await found.settle()
        assert found.engine.desk.find("landing").row.cursor == 2, "looked again from there"
        assert [row.cursor for row in await history(found)] == [1, 1, 2]


async def test_a_tick_of_nobody_is_refused_with_a_remedy(tmp_path: Path) -> None:
    folder = Folder()
    async with rig(tmp_path, [notify, folder.sensor]) as found:
        with pytest.raises(UnknownName) as refused:
            await found.control.roll_back("landing", 12345)
        assert "history" in refused.value.hint


async def test_failures_stay_counted(tmp_path: Path) -> None:
    broken = False

    @sensor(interval="1h")
    def landing(ctx: Any) -> None:
        if broken:
            raise ValueError("no")
        ctx.cursor = 1

    async with rig(tmp_path, [landing]) as found:
        (first, *_) = await history(found)
        broken = True
        await found.control.tick("landing")
        await found.control.pause("landing")
        await found.control.roll_back("landing", first.id)
        assert found.control.sensors()[0].failures == 1
        assert not await found.events("ticker_recovered")


STEPS = st.lists(
    st.one_of(
        st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"), max_size=4),
        st.integers(0, 10),
    ),
    min_size=2,
    max_size=9,
)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_any_way_back_leads_to_what_was(steps: list[Any]) -> None:
    """Looks and rollbacks in any order, rollbacks of rollbacks too: ledger and cursor are those of then."""
    anyio.run(_walk, steps)


async def _walk(steps: list[Any]) -> None:
    folder = Folder()
    with tempfile.TemporaryDirectory() as place:
        async with rig(Path(place), [notify, folder.sensor], clock=SimulatedClock()) as found:
            await folder.holds(found, a="0")
            await found.control.pause("landing")
            known: dict[int, tuple[Any, dict[str, bytes]]] = {}
            empty: dict[str, str] = {}
            every: list[Any] = [empty, *steps]
            for step in every:
                if isinstance(step, int):
                    at = list(known)[step % len(known)]
                    await found.control.roll_back("landing", at)
                    assert (found.engine.desk.find("landing").row.cursor, await ledger(found)) == known[at]
                else:
                    await folder.holds(found, **step)
                last = (await history(found))[-1].id
                known.setdefault(last, (found.engine.desk.find("landing").row.cursor, await ledger(found)))
            keys = await ran(found)
            assert len(keys) == len(set(keys))
