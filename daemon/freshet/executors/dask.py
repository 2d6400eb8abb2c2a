"""Steps on a Dask cluster that is there: `executor=Dask("tcp://scheduler:8786")`.

The cluster is reached through `distributed`'s asynchronous client, in the daemon's own loop. A step is one task: bytes
in, bytes out (see `host.remote`). A worker that is lost makes the scheduler start the task elsewhere, as often as its
`allowed-failures` says; beyond that, and where the cluster cannot be reached, the attempt has failed. Where the
connection to the scheduler is lost, it was interrupted, and the next one waits for the scheduler to be back.
"""

from __future__ import annotations

import asyncio
import importlib
import secrets
from collections.abc import Collection
from concurrent.futures import CancelledError
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
from freshet.executors.base import Answers, ItemRef, StepEnd
from freshet.executors.hostsettings import HostSettings
from freshet.executors.relay import Relay
from freshet.executors.spawning import Tasks
from freshet.executors.translate import run_order, step_end
from freshet.host import remote
from freshet.host.messages import Cancel, CancelItem
from freshet.host.sources import Sources
from freshet.store.records import StepToRun, TickError

__all__ = ["DaskSteps"]

_log = structlog.get_logger("freshet.runs")
_REACHED_WITHIN = 10.0
_BACK_WITHIN = 60.0
"""Seconds for a scheduler to be started again that has been reached before."""
_LAST_WORD = 2.0
_TOLD_AGAIN = 0.1
_KILL_MARGIN = 5.0
"""Seconds beyond its grace after which a canceled task is not waited for."""
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
        self._reached: set[str] = set()
        self._plugins: dict[str, Any] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._tokens: dict[Key, str] = {}
        self._relays: dict[str, Relay] = {}
        self._canceled: set[Key] = set()
        self._talks = Tasks()

    def prepare(self, definitions: Definitions, sources: Sources | None = None) -> None:
        """Keep the plugins as they were loaded, if any step is for a cluster."""
        specs: tuple[AssetSpec | JobSpec, ...] = (*definitions.assets, *definitions.jobs)
        self._addresses = {one.name: one.executor.address for one in specs if isinstance(one.executor, Dask)}
        self._plugins.clear()  # those of before are no longer what is to run
        if self._addresses:
            self._sources = sources or self._settings.read()
            if self._sources.version != definitions.version:
                self._sources = None
                self._problem = "the plugins were changed after they were loaded; freshet reload"

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
        except CancelledError as error:  # the cluster's own word for it
            end = StepEnd(*attempt, "interrupted", error=TickError("Interrupted", f"the cluster lost it: {error}"))
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
        with self._relay(address, client).home(token) as home:
            head, files = remote.unpack(await future)
            await asyncio.to_thread(home.finish, head["start"], files)
        return step_end(head["ended"])

    def _relay(self, address: str, client: Any) -> Relay:
        if address not in self._relays:
            self._relays[address] = Relay(client, self._settings.state_dir, self._talks)
        return self._relays[address]

    async def _client(self, address: str) -> Any:
        """One for each cluster; asked for anew where it is closed."""
        known = self._clients.get(address)
        if known is not None and known.done() and (known.exception() or known.result().status != "running"):
            if not known.exception():
                self._talks.spawn(_close(known.result()))
            known = None
        if known is None:
            self._plugins.pop(address, None)
            self._relays.pop(address, None)
            within = _BACK_WITHIN if address in self._reached else _REACHED_WITHIN
            known = self._clients[address] = asyncio.ensure_future(_connect(address, within))
        client = await asyncio.shield(known)
        self._reached.add(address)
        return client

    def cancel(self, run_id: int, position: int, *, grace: float) -> None:
        """SIGTERM to its processes wherever they run, as for any step; then the task is forgotten."""
        key = run_id, position
        task = self._tasks.get(key)
        if task is None or key in self._canceled:
            return
        self._canceled.add(key)
        self._talks.spawn(self._end(key, task, Cancel(op="cancel", run=run_id, position=position, grace=grace)))

    async def _end(self, key: Key, task: asyncio.Task[None], said: Cancel) -> None:
        heard = False
        with suppress(TimeoutError):
            async with asyncio.timeout(max(said["grace"], _LAST_WORD)):
                heard = await self._tell(key, said)
        if heard:  # how it ends is on its way
            await asyncio.wait([task], timeout=said["grace"] + _KILL_MARGIN)
        task.cancel()

    def cancel_item(self, run_id: int, item: ItemRef) -> None:
        """End one item, on whichever worker it is."""
        said = CancelItem(op="cancel_item", run=run_id, position=item.position, call=item.call, item=item.item)
        self._talks.spawn(self._tell_item((run_id, item.position), said))

    async def _tell_item(self, key: Key, said: CancelItem) -> None:
        await self._tell(key, said)

    async def _tell(self, key: Key, said: Cancel | CancelItem) -> bool:
        """Until the step has been told it, wherever it is, or is over (False): it may not have begun yet."""
        token = self._tokens.get(key)
        while token is not None and self._tokens.get(key) == token:
            if await self._told([token], said):
                return True
            await asyncio.sleep(_TOLD_AGAIN)
        return False

    async def _told(self, tokens: Collection[str], said: Cancel | CancelItem | None = None) -> bool:
        """Tell these steps something, or without a word that they are ended; whether any heard it."""
        heard = False
        for known in self._clients.values():
            if known.done() and not known.exception() and known.result().status == "running":
                with suppress(Exception):  # what cannot be reached ends by itself
                    told = known.result().run(remote.tell_steps, list(tokens), said, on_error="ignore")
                    heard |= any((await asyncio.wait_for(told, _LAST_WORD)).values())
        return heard

    async def close(self) -> None:
        """What runs is ended there, and interrupted here."""
        await self._told(list(self._tokens.values()))
        for task in list(self._tasks.values()):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))
        self._talks.cancel()
        await self._talks.ended()
        for known in self._clients.values():
            if known.done() and not known.exception():
                await _close(known.result())


async def _close(client: Any) -> None:
    with suppress(Exception):
        await asyncio.wait_for(client.close(), _LAST_WORD)


async def _connect(address: str, within: float) -> Any:
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise ClusterError(
            "executor=Dask(...) needs the package `distributed`",
            hint="pip install 'freshet[dask]', also on the workers",
        ) from None
    try:
        return await distributed.Client(address, asynchronous=True, timeout=within, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"the Dask scheduler at {address} cannot be reached: {error}", hint="start it with `dask scheduler`"
        ) from None


def _pack(order: Any, values_dir: Path) -> bytes:
    """With the values that lie here; those in a store are read from there."""
    places = {ref["path"] for pairs in order["inputs"].values() for _, ref in pairs if ":" not in ref["io"]}
    return remote.pack(order, {place: (values_dir / place).read_bytes() for place in sorted(places) if place})
