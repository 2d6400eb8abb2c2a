"""`engine(plugin)`: the whole engine in virtual time, with the plugin's own code, for tests that read from top to
bottom."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.names import nearest_hint
from freshet.definitions.outcome import Json
from freshet.engine.clock import SimulatedClock
from freshet.engine.engine import Engine, EngineOptions
from freshet.engine.facade import EngineControl
from freshet.engine.views import SensorState, TickReport
from freshet.errors import UnknownName
from freshet.executors.base import Answers
from freshet.io.registry import ValueRef, read_value
from freshet.store.events import events_after
from freshet.store.inputs import gather_inputs, read_inputs
from freshet.store.queries import partition_rows
from freshet.store.queries import run as read_run
from freshet.store.queries import runs as read_runs
from freshet.store.records import Event, InputNeed, ReportedMaterialization, RunRow, StepToRun
from freshet.store.throwaway import ThrowawayStore
from freshet.testing.inline import InlineHost
from freshet.testing.loading import Plugin, definitions_of

__all__ = ["VirtualEngine", "engine"]

T = TypeVar("T")

_EVERYTHING = 1_000_000
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Parts:
    engine: Engine
    store: ThrowawayStore
    clock: SimulatedClock
    values: Path


class VirtualEngine:
    """An engine that has started. Every method returns when all that it caused has ended; no time passes but in
    `advance`. `control`: all that the API may ask, see `do`."""

    def __init__(self, portal: BlockingPortal, parts: _Parts) -> None:
        self._portal = portal
        self._parts = parts
        self.control = EngineControl(parts.engine, parts.store)

    @property
    def now(self) -> datetime:
        """The simulated time, UTC."""
        return datetime.fromtimestamp(self._parts.clock.now(), UTC)

    def do(self, ask: Callable[[EngineControl], Awaitable[T]]) -> T:
        """What the engine answers, once it has settled: `river.do(lambda control: control.why("sales"))`."""

        async def work() -> T:
            answer = await ask(self.control)
            await self._settled()
            return answer

        return self._portal.call(work)

    # --- let something happen -------------------------------------------------------------------------------

    def advance(self, by: Duration) -> None:
        """Let time pass: what is due on the way happens at its instant. Raises `DurationError`."""
        seconds = parse_duration(by, what="advance")
        self._portal.call(partial(self._parts.clock.advance, seconds, self._settled))

    def tick(self, sensor: str, *, dry_run: bool = False) -> TickReport:
        """Let a sensor look now. What it raised is in `error`. Raises `UnknownName`."""
        return self.do(lambda control: control.tick(sensor, dry_run=dry_run))

    def materialize(
        self, *assets: str, partition: str | None = None, upstream: bool = False, downstream: bool = False
    ) -> list[RunRow]:
        """Make assets; returns their runs as they stand then."""
        ids = self.do(
            lambda control: control.materialize(assets, key=partition, upstream=upstream, downstream=downstream)
        )
        return [self.run(one) for one in ids]

    def call(self, job: str, **params: Json) -> RunRow:
        """Call a job; returns its run as it stands then."""
        return self.run(self.do(lambda control: control.call(job, params)))

    def report(self, asset: str, *, partition: str | None = None, metadata: Mapping[str, Json] | None = None) -> None:
        """Say that an asset was made elsewhere."""
        made = ReportedMaterialization(asset, partition, metadata=dict(metadata or {}))
        self.do(lambda control: control.report_made(made))

    def add_partitions(self, set: str, *keys: str, metadata: Mapping[str, Json] | None = None) -> None:
        """Add keys to a dynamic set."""
        told = dict(metadata or {})
        self.do(lambda control: control.add_partitions(set, dict.fromkeys(keys, told)))

    # --- look what has happened -----------------------------------------------------------------------------

    def runs(self, target: str | None = None) -> list[RunRow]:
        """Runs with this asset or job in them, or all, oldest first; each with its `state` and `steps`."""
        rows = self._read(partial(read_runs, target=target, limit=_EVERYTHING))
        return sorted(rows, key=lambda row: row.id)

    def run(self, run_id: int) -> RunRow:
        """One run. Raises `UnknownName`."""
        found = self._read(partial(read_run, run_id=run_id))
        if found is None:
            raise UnknownName(f"there is no run {run_id}", hint="runs() lists them")
        return found

    def states(self, target: str | None = None) -> list[str]:
        """The states of `runs(target)`."""
        return [row.state for row in self.runs(target)]

    def events(self, type: str | None = None) -> list[Event]:
        """What was committed, in order: "materialized", "failed", "freshness_lapsed", "partition_added"..."""
        found = self._read(partial(events_after, seq=0, limit=_EVERYTHING))
        return [event for event in found if type is None or event.type == type]

    def sensor(self, name: str) -> SensorState:
        """How a sensor stands: `status`, `cursor`, `last_error`... Raises `UnknownName`."""
        known = {one.name: one for one in self.control.sensors()}
        if name not in known:
            raise UnknownName(f"there is no sensor {name!r}", hint=nearest_hint(name, known))
        return known[name]

    def partitions(self, set: str) -> dict[str, dict[str, Json]]:
        """The live keys of a set that were added or used, with their metadata, in order. Raises `UnknownName`."""
        rows = self._read(partial(partition_rows, set=set, limit=_EVERYTHING))
        return {row.key: row.metadata for row in rows}

    def value(self, asset: str, partition: str | None = None) -> Any:
        """What was made last, as it is read back. Raises `UnknownName` where nothing was."""
        found = self.values(asset)
        if partition not in found:
            of = "" if partition is None else f" of the partition {partition!r}"
            raise UnknownName(f"there is no value of {asset!r}{of}", hint="runs() says what has failed")
        return found[partition]

    def values(self, asset: str) -> dict[str | None, Any]:
        """What was made last of each live partition by its key; without partitions, by None. Raises `UnknownName`."""
        spec = self.control.definitions.asset.get(asset)
        if spec is None:
            raise UnknownName(f"there is no asset {asset!r}", hint=nearest_hint(asset, self.control.definitions.asset))
        if spec.partitions is None:
            refs = self._read(partial(gather_inputs, needs=[InputNeed(asset, "identity")], partition=0, key=None))[0]
            found = refs[asset]
        else:
            live = self._parts.engine.instruments.in_force.partitions.live(asset)
            held = partial(read_inputs, asset=asset, set=spec.partitions.name, numbers=live, held=True)
            found = self._read(held)[0]
        return {
            key: read_value(self._parts.values, ValueRef(ref.path, ref.io, ref.size, ref.digest))
            for key, ref in found.items()
        }

    def _read(self, query: Callable[..., T]) -> T:
        return self._portal.call(self._parts.store.read, query)

    async def _settled(self) -> None:
        engine = self._parts.engine
        await engine.settled()
        if engine.instruments.work.failure.done():
            await engine.failed()


@contextmanager
def engine(
    plugin: Plugin,
    *,
    now: datetime = _BEGIN,
    timezone: str = "UTC",
    durations: Mapping[str, Duration] | None = None,
    folder: Path | None = None,
) -> Generator[VirtualEngine]:
    """Run a plugin in virtual time: its sensors look, its schedules fire, its steps run, all in this process.

        with engine("plugins/orders.py") as river:
            river.advance("1h")
            assert river.states("sales") == ["succeeded"]

    `plugin`: its file, its module, or its definitions. `now`: an aware time to begin at. `durations`: how long the
    steps of an asset or job take, by its name; others take no time. `folder`: where values and journals are kept, if
    they are to be looked at afterwards.

    Steps with `executor=` run here too. What sensors wait for (`wakes()`) does not wake them: they look at their
    interval. Relative paths are the test's own: `monkeypatch.chdir(tmp_path)`. Raises `DefinitionError` where the
    plugin would not be put in force.
    """
    spans = {name: parse_duration(one, what=f"durations: {name}") for name, one in (durations or {}).items()}
    objects = definitions_of(plugin)
    with tempfile.TemporaryDirectory(prefix="freshet-testing-") as scratch, start_blocking_portal("asyncio") as portal:
        place = folder or Path(scratch)
        parts = portal.call(_start, objects, Path(scratch), place, now, timezone, spans)
        made = VirtualEngine(portal, parts)
        try:
            portal.call(parts.engine.settled)
            yield made
        finally:
            portal.call(_stop, parts)


async def _start(
    objects: list[object], scratch: Path, place: Path, now: datetime, timezone: str, spans: Mapping[str, float]
) -> _Parts:
    clock = SimulatedClock(start=now.timestamp())
    store = ThrowawayStore.create(scratch / "freshet.db", now=clock.now())
    values = place / "values"

    def lasting(step: StepToRun) -> float:
        return spans.get(step.name, 0.0)

    def rest(asleep: bool) -> None:
        (made.instruments.work.end if asleep else made.instruments.work.begin)()

    def make_host(answers: Answers) -> InlineHost:
        return InlineHost(
            objects, answers, values_dir=values, clock=clock, duration=lasting, resting=rest, timezone=timezone
        )

    options = EngineOptions(grace=0.0, values_dir=values, timezone=timezone)
    made = Engine(store=store, make_host=make_host, clock=clock, options=options, rng=random.Random(0))
    try:
        await made.start()
    except BaseException:
        await store.close()
        raise
    return _Parts(made, store, clock, values)


async def _stop(parts: _Parts) -> None:
    try:
        await parts.engine.stop()
    finally:
        await parts.store.close()
