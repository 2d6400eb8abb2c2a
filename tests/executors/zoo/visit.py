"""One bad step after another, healthy ones beside them, and what is left when they are gone."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.executors.hosting import Hosting, hosting, step_to_run
from tests.executors.zoo.animals import Animal, plugin
from tests.support import processes

from freshet.executors.apart import StepExecutor
from freshet.executors.base import StepEnd
from freshet.executors.dask import DaskSteps
from freshet.executors.detached import DetachedSteps
from freshet.executors.hostsettings import HostSettings
from freshet.host.journal import ATTEMPT_MAX

__all__ = ["Zoo", "zoo"]

_GRACE = 0.1
_ROOM = 10.0
"""How many times as long a healthy step may take beside bad ones as without them. The machine's cores are shared with
the bad one, and with other tests; a code host that is held up by one shows with a hundred times as long."""
_MOST = 60
"""Healthy steps beside one bad one."""
_PATIENCE = 180.0
_OURS = ("plugins", "state", "tmp", "small", "cluster")
_PIPES = 5
"""Descriptors that the host has for one child at most."""


class Zoo:
    """Of one executor. `disk`: a small one, if there is a right to mount it. `known`: processes that were there."""

    def __init__(self, site: Hosting, executor: str, apart: StepExecutor | None, disk: str, known: set[int]) -> None:
        self._site = site
        self._executor = executor
        self._apart = apart
        self._disk = disk
        self._known = known
        self._alone: dict[str, list[float]] = defaultdict(list)
        self._beside: dict[str, list[float]] = defaultdict(list)

    async def opened(self) -> tuple[int, int]:
        """What is held once each kind of step has run: see `holds`."""
        for name in ("healthy", "healthy_here"):
            await self._healthy(name)
        return self.holds()

    # --- visits ---------------------------------------------------------------------------------------------

    async def visit(self, animal: Animal, *, megabytes: int) -> None:
        """Run it to its end, with healthy steps before it and beside it. Asserts how it ends, and its journal."""
        names = self._measured(animal)
        for name in names * 3:
            await self._healthy(name, self._alone)
        run_id = self._launch(animal.name, self._params(animal, megabytes))
        await asyncio.wait_for(self._site.answers.received[run_id], _PATIENCE)
        for name in names * 3:
            await self._healthy(name, self._beside)
        if animal.canceled:
            await self._cancel(run_id)
        ending = asyncio.ensure_future(self._ended(run_id, animal.name))
        for _ in range(_MOST):
            if ending.done():
                break
            for name in names:
                await self._healthy(name, self._beside)
        end = await ending
        assert end.outcome == animal.outcome, (animal, end)
        assert (end.error.type if end.error and animal.error else None) == animal.error, (animal, end)
        self._journal_is_whole_and_bounded(run_id, animal, megabytes)
        await self._healthy("healthy_here")

    def kept_their_latency(self) -> None:
        """Assert it of the healthy steps of all visits: the lower quartile, for what others do on the machine is in the
        upper ones."""
        for name in self._alone:
            alone, beside = (statistics.quantiles(times[name], n=4)[0] for times in (self._alone, self._beside))
            assert beside <= _ROOM * alone, (name, alone, beside)

    def _measured(self, animal: Animal) -> list[str]:
        shared = self._executor in ("reused", "inline") and not animal.alone
        return ["healthy", "healthy_here"] if shared else ["healthy"]

    def _params(self, animal: Animal, megabytes: int) -> dict[str, object]:
        given: dict[str, object] = {"megabytes": megabytes} if animal.loud else {}
        return {**given, "folder": self._disk} if animal.fills else given

    def _launch(self, name: str, params: dict[str, object]) -> int:
        if name == "healthy" or self._apart is None:
            return self._site.launch(name, params=params)
        step = step_to_run(name, params=params)
        self._site.answers.expect(step.run_id)
        self._apart.run(step)
        return step.run_id

    async def _cancel(self, run_id: int) -> None:
        if self._apart is None:
            self._site.host.cancel(run_id, 0, grace=_GRACE)
            return
        await wait(lambda: self._begun(run_id), "the step has begun")
        self._apart.cancel(run_id, 0, grace=_GRACE)

    def _begun(self, run_id: int) -> bool:
        """It says so: where steps are started apart, they are received before."""
        path = self._site.state_dir / "runs" / str(run_id) / "journal.jsonl"
        return path.exists() and "begun" in self._site.texts(run_id, "stdout")

    async def _healthy(self, name: str, times: dict[str, list[float]] | None = None) -> None:
        began = time.perf_counter()
        run_id = self._launch(name, {})
        end = await self._ended(run_id, name)
        assert end.outcome == "succeeded", (name, end)
        if times is not None:
            times[name].append(time.perf_counter() - began)

    async def _ended(self, run_id: int, name: str) -> StepEnd:
        answer = self._site.answers.ended[run_id]
        await wait(answer.done, f"{name} has ended")
        return answer.result()

    def _journal_is_whole_and_bounded(self, run_id: int, animal: Animal, megabytes: int) -> None:
        path = self._site.state_dir / "runs" / str(run_id) / "journal.jsonl"
        if not path.exists():  # without a word there is none
            assert animal.outcome == "succeeded" and not animal.loud, animal
            return
        assert path.stat().st_size < 2 * ATTEMPT_MAX + 2**20
        lines = self._site.journal(run_id)
        if animal.loud:
            texts = [line["text"] for line in lines if line["stream"] in ("stdout", "stderr")]
            assert "the last line" in texts[-2:]
            cut = [line for line in lines if line["stream"] == "cut"]
            assert cut[0]["message"].startswith("there is too much")
            kept = sum(len(text) + 1 for text in texts)
            assert cut[1]["fields"]["bytes"] + kept >= megabytes * 500_000
            assert cut[1]["fields"]["lines"] > 0

    # --- what is left ---------------------------------------------------------------------------------------

    async def nothing_is_left(self, before: tuple[int, int]) -> None:
        """Below the host are only its own children, and they have none; no descriptor, no file is left. `before`: what
        `holds` said."""
        await wait(lambda: not self._strays(), "no process is left", self._strays)
        assert self._site.host.status().workers_busy == 0
        await wait(lambda: self._fits(before), "no descriptor is left", lambda: (before, self.holds()))
        assert not (left := self._files()), left

    def holds(self) -> tuple[int, int]:
        """Descriptors of the host beyond those of its children, and of this process."""
        host = len(list(Path(f"/proc/{self._site.pid}/fd").iterdir()))
        return host - _PIPES * len(processes.children(self._site.pid)), len(list(Path("/proc/self/fd").iterdir()))

    def _fits(self, before: tuple[int, int]) -> bool:
        host, own = self.holds()
        return host <= before[0] + _PIPES and own <= before[1] + _PIPES

    def _strays(self) -> list[str]:
        """Other than the host, its children, and those that were there."""
        host = self._site.pid
        allowed = {host, *processes.children(host), *self._known}
        left = [pid for pid in processes.marked(f"ZOO={os.environ['ZOO']}") if pid not in allowed]
        return [f"{pid} {processes.command_line(pid)}" for pid in left] + processes.zombies(host)

    def _files(self) -> list[str]:
        state = self._site.state_dir
        left = [path for path in Path(os.environ["TMPDIR"]).iterdir() if not path.name.startswith("dask-scratch")]
        left += [path for path in state.glob("runs/*/*") if path.name != "journal.jsonl"]
        left += [path for path in state.glob("detached/*") if not path.name.startswith("plugins-")]
        left += [path for path in state.rglob("*.part")]
        left += [path for path in state.parent.iterdir() if path.name not in _OURS]
        return [str(path) for path in left]


@asynccontextmanager
async def zoo(folder: Path, executor: str, disk: str, address: str, patch: pytest.MonkeyPatch) -> AsyncGenerator[Zoo]:
    """One over a started host, closed at the end. `address`: of a Dask scheduler whose processes are there."""
    patch.setenv("ZOO", str(folder))
    (folder / "tmp").mkdir(exist_ok=True)
    patch.setenv("TMPDIR", str(folder / "tmp"))
    known = set(processes.marked(f"ZOO={folder}")) | {os.getpid()}
    async with hosting(folder, workers=3, zoo=plugin(executor, address)) as site:
        settings = HostSettings(folder / "plugins", folder, site.state_dir)
        apart: StepExecutor | None = None
        if executor == "detached":
            apart = DetachedSteps(settings, site.answers)
        elif executor == "dask":
            apart = DaskSteps(settings, site.answers)
        if apart is not None:
            apart.prepare(site.report.definitions)
        try:
            yield Zoo(site, executor, apart, disk, known)
        finally:
            if apart is not None:
                await apart.close()


async def wait(holds: Callable[[], bool], what: str, seen: Callable[[], object] = lambda: "") -> None:
    """Until it holds."""
    until = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < until, (what, seen())
        await asyncio.sleep(0.001)
