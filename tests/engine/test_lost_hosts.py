"""Hosts that end: while they are replaced, while the engine stops; and what no loop expects."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.engine.rig import Rig, rig

from freshet import job
from freshet.errors import HostError, UnknownName
from freshet.executors.base import LoadReport
from freshet.testing.inline import InlineHost

pytestmark = pytest.mark.anyio


@job
def note() -> None:
    """Nothing."""


class _Host(InlineHost):
    """Opens as `plan` says, one word a host: fine, dies (the engine hears of it, and opening fails), ends (just as it
    has opened), waits."""

    plan: list[str] = []  # noqa: RUF012  # one test at a time
    made: list[_Host] = []  # noqa: RUF012
    closed = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _Host.made.append(self)
        self.word = _Host.plan[len(_Host.made) - 1]
        self.lost = args[1].host_lost

    async def open(self, *, workers: int, without: Collection[str] = ()) -> None:
        await super().open(workers=workers, without=without)
        match self.word:
            case "dies":
                self.lost("died while opening")
                raise HostError("it died")
            case "ends":
                self.lost("ended")
            case "waits":
                await asyncio.Event().wait()
            case _:
                pass

    async def close(self, *, grace: float) -> None:
        self.closed = True
        await super().close(grace=grace)


def _hosts(*words: str) -> type[_Host]:
    _Host.plan, _Host.made = list(words), []
    return _Host


async def _turn() -> None:
    """Who waits for the next try is not at rest, as virtual time understands it."""
    await asyncio.sleep(0)


def _in_force(one: Rig) -> list[bool]:
    return [host is one.engine.instruments.in_force.host for host in _Host.made]


@pytest.mark.parametrize("word", ["dies", "ends"])
async def test_a_host_that_ends_while_it_is_put_in_force_is_replaced_once(tmp_path: Path, word: str) -> None:
    async with rig(tmp_path, [note], host=_hosts("fine", word, "fine", "fine")) as one:
        _Host.made[0].lost("killed")
        async with asyncio.timeout(5):
            while one.engine.instruments.in_force.host is None:
                await one.clock.advance(0.1, _turn)
        await one.advance(60)
        assert _in_force(one) == [False, False, True]
        await one.control.call("note", {})
        await one.settle()
        assert await one.states("note") == ["succeeded"]


async def test_the_end_does_not_wait_for_a_host_and_leaves_none(tmp_path: Path) -> None:
    async with rig(tmp_path, [note], host=_hosts("fine", "waits")) as one:
        _Host.made[0].lost("killed")
        while len(_Host.made) < 2:
            await asyncio.sleep(0)
        await one.control.call("note", {})
        async with asyncio.timeout(1):
            await one.engine.stop()
        assert _Host.made[1].closed
        assert one.engine.instruments.in_force.host is None
        assert await one.states("note") == ["queued"]


class _Edited(_Host):
    """From the second on, of other definitions."""

    async def start(self) -> LoadReport:
        report = await super().start()
        other = replace(report.definitions, version="edited")
        return report if len(_Host.made) == 1 else replace(report, definitions=other)


async def test_plugins_changed_while_the_host_is_gone_need_a_restart(tmp_path: Path) -> None:
    _hosts(*["fine"] * 50)
    async with rig(tmp_path, [note], host=_Edited) as one:
        assert not one.control.status().needs_restart
        _Host.made[0].lost("killed")
        async with asyncio.timeout(5):
            while not one.control.status().needs_restart:
                await asyncio.sleep(0)
        assert "restart" in (one.control.status().problem or "")
        run = await one.control.call("note", {})
        assert one.blocked_by(run) == one.control.status().problem


async def test_an_error_of_ours_that_no_loop_expects_is_a_bug(tmp_path: Path) -> None:
    async with rig(tmp_path, [note], stop=False) as one:
        one.engine.instruments.work.fail(UnknownName("nobody asked"))
        with pytest.raises(RuntimeError, match="please report it") as raised:
            await one.engine.failed()
        assert isinstance(raised.value.__cause__, UnknownName)
