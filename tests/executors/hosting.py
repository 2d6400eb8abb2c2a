"""A real code host over plugins written in a test, and what it told."""

from __future__ import annotations

import asyncio
import itertools
import textwrap
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from freshet.definitions.listen import Happenings
from freshet.executors.base import LoadReport, StepCall, StepEnd, TickEnd
from freshet.executors.children import ChildrenLock
from freshet.executors.codehost import ProcessCodeHost
from freshet.executors.hostsettings import HostSettings
from freshet.io import ValueRef as KeptRef
from freshet.io import read_value
from freshet.store.records import LedgerEntry, StepToRun, ValueRef, WaitingDelivery
from freshet.store.records.offences import Offence

__all__ = ["Hosting", "Recorder", "hosting", "step_to_run", "write_plugins"]

_numbers = itertools.count(1)


def step_to_run(name: str, **given: Any) -> StepToRun:
    """A step with a run of its own; a job unless told otherwise."""
    kept: dict[str, Any] = {
        "run_id": next(_numbers),
        "position": 0,
        "name": name,
        "kind": "job",
        "attempt": 1,
        "failures": 0,
        "set": None,
        "partition": 0,
        "key": None,
        "partition_metadata": {},
        "params": {},
        "tags": {},
    }
    return StepToRun(**{**kept, **given})


class Recorder:
    """Answers that are kept, and can be waited for."""

    def __init__(self) -> None:
        self.received: dict[int, asyncio.Future[int]] = {}
        self.ended: dict[int, asyncio.Future[StepEnd]] = {}
        self.ends: list[StepEnd] = []
        self.ticks: list[TickEnd] = []
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.told: list[str] = []

    def expect(self, run_id: int) -> None:
        """To be called before a run is launched."""
        loop = asyncio.get_running_loop()
        self.received[run_id], self.ended[run_id] = loop.create_future(), loop.create_future()

    def tick_ended(self, end: TickEnd) -> None:
        """See `Answers`."""
        self.ticks.append(end)

    def woken(self, sensor: str, hints: tuple[str, ...] | None) -> None:
        """See `Answers`."""

    def step_calls(self, call: StepCall) -> None:
        """See `Answers`."""
        raise AssertionError(call)

    def call_left(self, run_id: int, position: int, attempt: int, number: int) -> None:
        """See `Answers`."""
        raise AssertionError(number)

    def step_received(self, run_id: int, position: int, attempt: int, pid: int) -> None:
        """See `Answers`."""
        self.told.append(f"received {run_id}")
        self.received[run_id].set_result(pid)

    def step_ended(self, end: StepEnd) -> None:
        """See `Answers`. A second end for one launch is an error: the future takes one."""
        self.told.append(f"ended {end.run_id}")
        self.ends.append(end)
        self.ended[end.run_id].set_result(end)

    def load_ledger(self, sensor: str) -> AbstractAsyncContextManager[AsyncIterator[tuple[LedgerEntry, ...]]]:
        """See `Answers`."""
        raise NotImplementedError

    async def ledger_keys(self, sensor: str, digests: tuple[bytes, ...]) -> dict[bytes, str]:
        """See `Answers`."""
        raise NotImplementedError

    async def deliveries(
        self, sensor: str, *, tick: int, after: int, limit: int, again: bool
    ) -> tuple[tuple[WaitingDelivery, ...], bool]:
        """See `Answers`."""
        raise NotImplementedError

    async def happened(
        self, after: int | None, types: tuple[str, ...], names: tuple[str, ...] | None, limit: int
    ) -> Happenings:
        """See `Answers`."""
        raise NotImplementedError

    def ledger_revision(self, sensor: str) -> int:
        """See `Answers`."""
        return 0

    def sensor_offended(self, sensor: str, offence: Offence) -> None:
        """See `Answers`."""

    def host_lost(self, reason: str) -> None:
        """See `Answers`."""
        self.told.append("lost")
        self.lost.set_result(reason)


class Hosting:
    """A started and opened host."""

    def __init__(self, host: ProcessCodeHost, answers: Recorder, report: LoadReport, state_dir: Path) -> None:
        self.host = host
        self.answers = answers
        self.report = report
        self.state_dir = state_dir

    @property
    def pid(self) -> int:
        """The host's process id."""
        return self.host.status().pid

    def launch(self, name: str, **given: Any) -> int:
        """Begin a step; its run id."""
        step = step_to_run(name, **given)
        self.answers.expect(step.run_id)
        self.host.run(step)
        return step.run_id

    async def run(self, name: str, **given: Any) -> StepEnd:
        """Run a step to its end."""
        return await asyncio.wait_for(self.answers.ended[self.launch(name, **given)], 30)

    async def asset(self, name: str, **given: Any) -> StepEnd:
        """The same for an asset."""
        return await self.run(name, kind="asset", **given)

    async def begun(self, name: str, **given: Any) -> tuple[int, int]:
        """A step whose user code runs: run id and the worker's process id."""
        run_id = self.launch(name, **given)
        return run_id, await asyncio.wait_for(self.answers.received[run_id], 30)

    async def end(self, run_id: int) -> StepEnd:
        """The end of a step that was begun."""
        return await asyncio.wait_for(self.answers.ended[run_id], 30)

    def value(self, end: StepEnd) -> Any:
        """What an asset returned."""
        assert end.outcome == "succeeded", end
        assert end.value is not None
        kept = KeptRef(end.value.path, end.value.io, end.value.size, end.value.digest)
        return read_value(self.state_dir / "values", kept)

    def journal(self, run_id: int) -> list[dict[str, Any]]:
        """The lines of a run's journal."""
        text = (self.state_dir / "runs" / str(run_id) / "journal.jsonl").read_bytes()
        return [orjson.loads(line) for line in text.splitlines()]

    def texts(self, run_id: int, stream: str) -> list[str]:
        """The texts of one stream."""
        return [line["text"] for line in self.journal(run_id) if line["stream"] == stream]


def write_plugins(folder: Path, **sources: str) -> None:
    """Files by stem; `__` in a name is a folder, and `kit__init__` is `kit/__init__.py`."""
    for name, source in sources.items():
        path = folder / f"{name.replace('__', '/').replace('/init/', '/__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))


@asynccontextmanager
async def hosting(folder: Path, *, workers: int = 2, timezone: str = "UTC", **sources: str) -> AsyncGenerator[Hosting]:
    """A host over `folder/plugins`, closed at the end."""
    write_plugins(folder / "plugins", **sources)
    (folder / "plugins").mkdir(exist_ok=True)
    state_dir = folder / "state"
    state_dir.mkdir(exist_ok=True)
    children = await ChildrenLock.acquire(state_dir)
    answers = Recorder()
    host = ProcessCodeHost(HostSettings(folder / "plugins", folder, state_dir, timezone=timezone), answers, children)
    try:
        report = await host.start()
        assert report.problems == ()
        await host.open(workers=workers)
        yield Hosting(host, answers, report, state_dir)
    finally:
        await host.close(grace=0.2)
        children.close()


def ref(end: StepEnd) -> dict[str | None, ValueRef]:
    """An end's value as an input without partitions."""
    assert end.value is not None
    return {None: end.value}
