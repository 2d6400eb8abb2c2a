"""Steps on a Dask cluster that is there: `executor=Dask("tcp://scheduler:8786")`.

The cluster is reached through `distributed`'s asynchronous client, in the daemon's own loop. A step is one task: bytes
in, bytes out (see `host.remote`). A worker that is lost makes the scheduler start the task elsewhere, as often as its
`allowed-failures` says; beyond that, and where the cluster cannot be reached, the attempt has failed. Where the
connection to the scheduler is lost, it was interrupted.
"""

from __future__ import annotations

import asyncio
import importlib
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from freshet.definitions.asset import AssetSpec
from freshet.definitions.executor import Dask
from freshet.definitions.graph import Definitions
from freshet.definitions.job import JobSpec
from freshet.errors import FreshetError, HostError
from freshet.executors.base import Answers, StepEnd
from freshet.executors.hostsettings import HostSettings
from freshet.executors.spawning import Tasks
from freshet.executors.translate import run_order, step_end
from freshet.host import remote
from freshet.host.sources import Sources
from freshet.io.files import ensure_folder, write_durable
from freshet.store.records import StepToRun, TickError

__all__ = ["DaskSteps"]

_log = structlog.get_logger("freshet.runs")
_REACHED_WITHIN = 10.0
_LAST_WORD = 2.0
_JOURNAL = "journal.jsonl"
Key = tuple[int, int]


class ClusterError(FreshetError):
    """The cluster cannot be used."""


class DaskSteps:
    """Implements `apart.StepExecutor`."""

    lasting = False

    def __init__(self, settings: HostSettings, answers: Answers) -> None:
        self._settings = settings
        self._answers = answers
        self._addresses: dict[str, str] = {}
        self._sources: Sources | None = None
        self._problem = "no definitions are in force"
        self._clients: dict[str, asyncio.Future[Any]] = {}
        self._plugins: dict[str, Any] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._tokens: dict[Key, str] = {}
        self._canceled: set[Key] = set()
        self._endings = Tasks()

    def prepare(self, definitions: Definitions) -> None:
        """Keep the plugins as they are now, if any step is for a cluster."""
        specs: tuple[AssetSpec | JobSpec, ...] = (*definitions.assets, *definitions.jobs)
        self._addresses = {one.name: one.executor.address for one in specs if isinstance(one.executor, Dask)}
        if self._addresses:
            self._sources = Sources.read(self._settings.plugins_dir)
            if self._sources.version != definitions.version:
                self._sources = None
                self._problem = "the plugins were changed after they were loaded; restart Freshet"

    def found(self) -> tuple[StepToRun, ...]:
        """None: a task ends with its client."""
        return ()

    def adopt(self, steps: Collection[Key]) -> None:
        """There are none."""

    # --- launches -------------------------------------------------------------------------------------------

    def run(self, step: StepToRun) -> None:
        """Submit it."""
        key = step.run_id, step.position
        self._tokens[key] = f"freshet-step-{step.run_id}-{step.position}-{step.attempt}-{secrets.token_hex(4)}"
        self._tasks[key] = asyncio.get_running_loop().create_task(self._run(step))

    async def _run(self, step: StepToRun) -> None:
        key, attempt = (step.run_id, step.position), (step.run_id, step.position, step.attempt)
        try:
            end = await self._submitted(step)
        except asyncio.CancelledError:
            end = StepEnd(*attempt, "interrupted")  # by us, or the connection to the scheduler is lost
        except (FreshetError, OSError, TimeoutError) as error:
            end = StepEnd(*attempt, "failed", error=TickError(type(error).__name__, str(error)))
        except Exception as error:  # what a cluster may raise: KilledWorker, what unpickling there raises
            end = StepEnd(*attempt, "died", error=TickError(type(error).__name__, f"the cluster lost it: {error}"))
        if key in self._canceled and end.outcome != "succeeded":
            end = replace(end, outcome="canceled")
        self._canceled.discard(key)
        del self._tasks[key], self._tokens[key]
        self._answers.step_ended(end)

    async def _submitted(self, step: StepToRun) -> StepEnd:
        if self._sources is None:
            raise HostError(self._problem)
        key = step.run_id, step.position
        address = self._addresses[step.name]
        client = await self._client(address)
        order = run_order(step, timezone=self._settings.timezone)
        packed = await asyncio.to_thread(_pack, order, self._settings.state_dir / "values")
        plugins = self._plugins.get(address)
        if plugins is None:
            name = f"freshet-plugins-{self._sources.version}"
            plugins = self._plugins[address] = client.submit(remote.keep, self._sources.dump(), key=name)
        token = self._tokens[key]
        future = client.submit(remote.run_step, token, packed, plugins, key=token, pure=False)
        self._answers.step_received(step.run_id, step.position, step.attempt, 0)
        ended, files = remote.unpack(await future)
        await asyncio.to_thread(_take_home, self._settings.state_dir, files)
        return step_end(ended)

    async def _client(self, address: str) -> Any:
        """One for each cluster; asked for anew where it is closed."""
        known = self._clients.get(address)
        if known is not None and known.done() and (known.exception() or known.result().status != "running"):
            known = None
        if known is None:
            self._plugins.pop(address, None)
            known = self._clients[address] = asyncio.ensure_future(_connect(address))
        return await asyncio.shield(known)

    def cancel(self, run_id: int, position: int, *, grace: float) -> None:
        """SIGTERM to its processes wherever they run, as for any step; then the task is forgotten."""
        key = run_id, position
        task = self._tasks.get(key)
        if task is None or key in self._canceled:
            return
        self._canceled.add(key)
        self._endings.spawn(self._end([key]))
        asyncio.get_running_loop().call_later(grace, task.cancel)

    async def _end(self, keys: Collection[Key]) -> None:
        tokens = [self._tokens[key] for key in keys if key in self._tokens]
        for known in self._clients.values():
            if known.done() and not known.exception() and known.result().status == "running":
                with suppress(Exception):  # what cannot be reached ends by itself
                    await asyncio.wait_for(known.result().run(remote.end_steps, tokens), _LAST_WORD)

    async def close(self) -> None:
        """What runs is ended there, and interrupted here."""
        await self._end(list(self._tasks))
        for task in list(self._tasks.values()):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))
        for known in self._clients.values():
            if known.done() and not known.exception():
                with suppress(Exception):
                    await asyncio.wait_for(known.result().close(), _LAST_WORD)


async def _connect(address: str) -> Any:
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise ClusterError(
            "executor=Dask(...) needs the package `distributed`",
            hint="pip install 'freshet[dask]', also on the workers",
        ) from None
    try:
        return await distributed.Client(address, asynchronous=True, timeout=_REACHED_WITHIN, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"the Dask scheduler at {address} cannot be reached: {error}", hint="start it with `dask scheduler`"
        ) from None


def _pack(order: Any, values_dir: Path) -> bytes:
    """With the values that lie here; those in a store are read from there."""
    places = {ref["path"] for pairs in order["inputs"].values() for _, ref in pairs if ":" not in ref["io"]}
    return remote.pack(order, {place: (values_dir / place).read_bytes() for place in sorted(places) if place})


def _take_home(state_dir: Path, files: dict[str, bytes]) -> None:
    """Put what the step wrote where it would have written it here: values durably, lines behind the others."""
    for name, data in files.items():
        folder, _, file = f"{state_dir}/{name}".rpartition("/")
        if name.startswith("values/"):
            ensure_folder(folder, top=f"{state_dir}/values")
            write_durable(folder, file, data)
            continue
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        with Path(folder, file).open("ab" if file == _JOURNAL else "wb") as out:
            out.write(data)
