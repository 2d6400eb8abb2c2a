"""Why an asset is made, or is not: its condition as it stands, what happened to it last, and who else makes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from pyroaring import BitMap

from freshet.definitions.asset import AssetSpec
from freshet.definitions.deadlines import FreshState, lapse_deadline, state_at
from freshet.definitions.partitions import DynamicPartitions, PartitionsSpec, TimePartitions
from freshet.engine.automation import Explanation, Standing
from freshet.engine.automation.needs import needs
from freshet.engine.blocked import Blocked, blocked
from freshet.engine.makers import Maker, makers
from freshet.engine.partitions.refs import partition_ref
from freshet.engine.requests import find_asset
from freshet.errors import Conflict
from freshet.store.checks import ShutGate, gates_shut
from freshet.store.freshness import freshness_at
from freshet.store.records import Event, RunRow
from freshet.store.views import PartitionState
from freshet.store.why import LAST_OF, Asked, LastOf, find_key, history, keys_of

if TYPE_CHECKING:
    from freshet.engine.engine import Engine

__all__ = ["Dependency", "NodeView", "Promise", "Some", "WhyView", "why"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Some:
    """How many partitions, and the keys of the last few."""

    count: int
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node of the condition; see `automation.Explanation`. `true_of` of the `asked` partitions it is true; `event`:
    the newest that it rests on."""

    asset: str
    kind: str
    expression: str
    label: str | None
    value: bool
    asked: int
    true_of: Some
    since: float | None
    until: float | None
    attempts: tuple[int, int] | None
    event: Event | None
    children: tuple[NodeView, ...]


@dataclass(frozen=True, slots=True)
class Dependency:
    """What a partition depends on; see `automation.Standing`."""

    asset: str
    mapping: str
    named: int
    materialized: int
    failed: Some
    moving: Some
    missing: Some
    holds: Literal["hard", "soft"] | None
    held: Some


@dataclass(frozen=True, slots=True)
class Promise:
    """Where it stands under its freshness policy. `deadline`: when it lapses, or lapsed; None where no instant comes,
    or where the policy that it lapsed under is another now."""

    state: FreshState
    deadline: float | None


@dataclass(frozen=True, slots=True)
class WhyView:
    """`condition`: its digest; `tree` None without a condition. `needs`: what would make it true. `added_at`: when the
    partition came to be, of windows and static keys where that is known. `reported`: what made it last, where that was
    no run. `run`: the last that makes this partition; `blocked`: why it does not go on; `earlier`: the condition
    that asked for it, where it is another now. `gates`: the blocking checks that hold back what is there from those
    below. `stopped`: the end of a chain since then. `freshness`: of the partition, where the policy is for each; else
    of the asset; None without one. `external`: no run makes it."""

    asset: str
    external: bool
    partition: str | None
    partitions: int | None
    now: float
    freshness: Promise | None
    definitions_version: str
    state: PartitionState
    condition: str | None
    tree: NodeView | None
    needs: tuple[str, ...]
    dependencies: tuple[Dependency, ...]
    makers: tuple[Maker, ...]
    added_at: float | None
    reported: Event | None
    run: RunRow | None
    blocked: Blocked | None
    earlier: str | None
    gates: tuple[ShutGate, ...]
    stopped: Event | None


async def why(engine: Engine, asset: str, key: str | None) -> WhyView:
    """As of now. Without a `key`, of a partitioned asset the newest partition. Raises `UnknownName`,
    `PartitionKeyError`, and `Conflict` for a key of an asset without partitions, or where there is no partition yet."""
    spec = find_asset(engine.instruments.in_force.definitions, asset)
    number = await _number(engine, spec, key)
    now = engine.instruments.clock.now()
    tree, standings = engine.automator.explain(asset, number), engine.automator.standings(asset, number)
    added = LastOf(asset, (number,), ("partition_added",))
    made = LastOf(asset, (number,), ("materialized",))
    wanted = (added, made, *(() if tree is None else (one for node in _walk(tree) for one in _last_of(node))))
    state, digest = engine.automator.state(asset, number), engine.automator.digest(asset)
    asked = await engine.instruments.store.read(partial(history, asset=asset, partition=number, wanted=wanted))
    promise = await _promise(engine, spec, number, now)
    names = await _Names.read(engine, [(asset, (number,)), *_shown(tree, standings)])
    return WhyView(
        asset=asset,
        external=spec.external,
        partition=None if spec.partitions is None else names.key(asset, number),
        partitions=None if spec.partitions is None else engine.automator.counts(asset).partitions,
        now=now,
        freshness=promise,
        definitions_version=engine.instruments.in_force.definitions.version,
        state=state,
        condition=digest,
        tree=None if tree is None else _node(tree, names, asked.events),
        needs=() if tree is None else needs(tree, standings),
        dependencies=tuple(_dependency(one, names) for one in standings),
        makers=makers(engine, asset),
        added_at=asked.events[added].at if added in asked.events else None,
        reported=_reported(asked.events.get(made)),
        run=asked.run,
        blocked=_blocked(engine, asked),
        earlier=_earlier(asset, asked, digest),
        gates=await _gates(engine, asset, number),
        stopped=asked.stopped,
    )


async def _number(engine: Engine, spec: AssetSpec, key: str | None) -> int:
    if spec.partitions is None:
        if key is not None:
            raise Conflict(f"the asset {spec.name!r} has no partitions", hint="leave --partition out")
        return 0
    sets = engine.instruments.in_force.partitions.sets
    if key is None:
        newest = sets.newest(spec.partitions)
        if not newest:
            said = f"the asset {spec.name!r} has no partition yet"
            raise Conflict(said, hint=f"freshet partitions {spec.partitions.name} shows them when there are some")
        return newest.max()
    ref = partition_ref(spec.partitions, key, engine.instruments.clock.now(), spec.name)
    if ref.number is not None:
        return ref.number
    number = None if isinstance(spec.partitions, DynamicPartitions) else sets.number(spec.partitions, ref.key)
    if number is not None and number in sets.live(spec.partitions):
        return number
    return await engine.instruments.store.read(partial(find_key, set=spec.partitions.name, key=ref.key))


async def _promise(engine: Engine, spec: AssetSpec, number: int, now: float) -> Promise | None:
    policy = spec.freshness
    if policy is None:
        return None
    row = await engine.instruments.store.read(
        partial(freshness_at, asset=spec.name, partition=number if policy.per_partition else 0)
    )
    if row is None:  # a partition that came just now
        return None
    state, deadline = state_at(policy, row.counts, now, row.state), lapse_deadline(policy, row.counts)
    moved = state == "lapsed" and deadline is not None and deadline > now
    return Promise(state, None if moved else deadline)


async def _gates(engine: Engine, asset: str, number: int) -> tuple[ShutGate, ...]:
    names = engine.instruments.in_force.definitions.gates.get(asset, ())
    read = partial(gates_shut, asset=asset, partition=number, names=names)
    return await engine.instruments.store.read(read) if names else ()


# --- what happened ----------------------------------------------------------------------------------------------


def _walk(node: Explanation) -> Iterator[Explanation]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _reported(made: Event | None) -> Event | None:
    return made if made is not None and made.run_id is None else None


def _last_of(node: Explanation) -> list[LastOf]:
    """Where the event lies that a node rests on: of its own partitions, and of the whole of assets with policies."""
    if not node.events:
        return []
    own = _last(node.true_of or node.asked, LAST_OF)
    policies = any(kind.startswith("freshness_") for kind in node.events)
    return [
        LastOf(one, ((0, *own) if policies else own) if one == node.asset else (0,), node.events) for one in node.of
    ]


def _last(numbers: BitMap, count: int) -> tuple[int, ...]:
    """The highest few, ascending."""
    return tuple(numbers[max(0, len(numbers) - count) :])


def _earlier(asset: str, asked: Asked, digest: str | None) -> str | None:
    """The condition that asked for the last run, if it is not the one in force."""
    if asked.run is None or asked.run.condition is None:
        return None
    digests = asked.run.condition.split()
    steps = [step.name for step in asked.run.steps]
    then = digests[steps.index(asset)] if len(digests) > 1 and asset in steps else digests[0]
    return None if then in (digest, "-") else asked.conditions.get(then, then)


def _blocked(engine: Engine, asked: Asked) -> Blocked | None:
    if asked.run is None or asked.run.state not in ("queued", "started", "interrupted"):
        return None
    if asked.waits_for:
        names = ", ".join(asked.waits_for)
        return Blocked("step", names, f"waits for {names} in the same run")
    return blocked(engine, asked.run.id)


# --- for people -------------------------------------------------------------------------------------------------


def _shown(tree: Explanation | None, standings: Iterable[Standing]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The partitions that are shown by their keys."""
    for node in () if tree is None else _walk(tree):
        yield node.asset, _last(node.true_of, _SHOWN)
    for one in standings:
        for bits in (one.failed, one.moving, one.missing, one.held):
            yield one.asset, _last(bits, _SHOWN)


class _Names:
    """Keys of partitions, by set and number."""

    def __init__(self, specs: Mapping[str, PartitionsSpec], keys: Mapping[str, Mapping[int, str]]) -> None:
        self._specs = specs
        self._keys = keys

    @classmethod
    async def read(cls, engine: Engine, wanted: Iterable[tuple[str, tuple[int, ...]]]) -> _Names:
        """The keys of these partitions of assets."""
        assets = engine.instruments.in_force.definitions.asset
        specs: dict[str, PartitionsSpec] = {}
        numbers: dict[str, set[int]] = {}
        for asset, some in wanted:
            spec = assets[asset].partitions
            if spec is not None and some:
                specs[asset] = spec
                numbers.setdefault(spec.name, set()).update(some)
        store = engine.instruments.store
        return cls(
            specs,
            {name: await store.read(partial(keys_of, set=name, numbers=sorted(numbers[name]))) for name in numbers},
        )

    def key(self, asset: str, number: int) -> str:
        """The key of a partition; a window of time may never have been used."""
        spec = self._specs[asset]
        found = self._keys[spec.name].get(number)
        if found is None:
            return spec.key(number) if isinstance(spec, TimePartitions) else f"number {number}"
        return found

    def some(self, asset: str, numbers: BitMap) -> Some:
        """How many, and the last few; without keys for an asset that has none."""
        keys = tuple(self.key(asset, one) for one in _last(numbers, _SHOWN)) if asset in self._specs else ()
        return Some(len(numbers), keys)


def _node(one: Explanation, names: _Names, events: Mapping[LastOf, Event]) -> NodeView:
    children = tuple(_node(child, names, events) for child in one.children)
    found = [events[last] for last in _last_of(one) if last in events]
    if one.kind == "since":
        found = list(_events(children[0 if one.value else 1]))
    return NodeView(
        asset=one.asset,
        kind=one.kind,
        expression=one.expression,
        label=one.label,
        value=one.value,
        asked=len(one.asked),
        true_of=names.some(one.asset, one.true_of),
        since=one.since,
        until=one.until,
        attempts=one.attempts,
        event=max(found, key=lambda event: event.seq, default=None),
        children=children,
    )


def _events(node: NodeView) -> Iterator[Event]:
    if node.event is not None:
        yield node.event
    for child in node.children:
        yield from _events(child)


def _dependency(one: Standing, names: _Names) -> Dependency:
    bits = (one.failed, one.moving, one.missing, one.held)
    failed, moving, missing, held = (names.some(one.asset, some) for some in bits)
    counts = len(one.named), len(one.materialized)
    return Dependency(one.asset, one.mapping, *counts, failed, moving, missing, one.holds, held)
