"""What one transaction did: facts changed, and what is newly so for the length of one look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pyroaring import BitMap

from freshet.engine.automation.state import EMPTY, Levels, World
from freshet.store.records import Event

__all__ = ["Moment", "Pulses", "apply"]


@dataclass(slots=True)
class Pulses:
    """What happened to an asset's partitions in this transaction. `handled`: see `newly_handled`. `skipped`: let go
    because a step above it in the run failed. `stopped`: asked for, and not admitted, as a chain of runs had become too
    long. `changed`: updated with data that is not known to be the same. `withheld`: updated, or let through before, and
    held by blocking checks now; `cleared`: let through by the last of them, and `cleared_anew` with data that those
    below do not know. `code`: its code is another. `tags`: of the runs that updated, where they have any. `lapsed`: 0
    for the whole asset. `unsettled`: its freshness was or is not in order. `begun`: of what was on its way already, a
    run was admitted or began, of which those below see nothing; not in `touched`."""

    updated: BitMap = field(default_factory=BitMap)
    changed: BitMap = field(default_factory=BitMap)
    withheld: BitMap = field(default_factory=BitMap)
    cleared: BitMap = field(default_factory=BitMap)
    cleared_anew: BitMap = field(default_factory=BitMap)
    reported: BitMap = field(default_factory=BitMap)
    requested: BitMap = field(default_factory=BitMap)
    started: BitMap = field(default_factory=BitMap)
    failed: BitMap = field(default_factory=BitMap)
    canceled: BitMap = field(default_factory=BitMap)
    skipped: BitMap = field(default_factory=BitMap)
    stopped: BitMap = field(default_factory=BitMap)
    handled: BitMap = field(default_factory=BitMap)
    added: BitMap = field(default_factory=BitMap)
    begun: BitMap = field(default_factory=BitMap)
    touched: BitMap = field(default_factory=BitMap)
    code: bool = False
    tags: dict[int, dict[str, str]] = field(default_factory=dict[int, dict[str, str]])
    lapsed: BitMap = field(default_factory=BitMap)
    unsettled: bool = False

    @property
    def arrived(self) -> BitMap:
        """Updated, as those below see it: once their blocking checks have let them through."""
        return (self.updated - self.withheld) | self.cleared if self.withheld or self.cleared else self.updated

    @property
    def arrived_anew(self) -> BitMap:
        """Of these, with other data."""
        return (self.changed - self.withheld) | self.cleared_anew if self.withheld or self.cleared else self.changed


_NO_PULSES = Pulses()


@dataclass(slots=True)
class Found:
    """What has been found out of partitions, by asset: of which it is `known`, and of which it is `true`."""

    known: dict[str, BitMap] = field(default_factory=dict[str, BitMap])
    true: dict[str, BitMap] = field(default_factory=dict[str, BitMap])

    def learn(self, asset: str, scope: BitMap, true: BitMap) -> None:
        """Found out of `scope`."""
        self.known[asset] = self.known.get(asset, EMPTY) | scope
        self.true[asset] = self.true.get(asset, EMPTY) | true

    def unknown(self, asset: str, scope: BitMap) -> BitMap:
        """Those of `scope` of which it is not known."""
        return scope - self.known.get(asset, EMPTY)

    def among(self, asset: str, scope: BitMap) -> BitMap:
        """Those of `scope`, all known, of which it is true."""
        return scope & self.true.get(asset, EMPTY)


@dataclass(slots=True)
class Moment:
    """One look of all conditions. `at`: when the transaction was committed. `shifted`: assets that depend on other
    partitions than before; `rewired`: likewise, by an edit. `touched`: to which something happened, by asset; or to
    something above them, as far as conditions of others may see that in them. `ticked`: the nodes, by asset, of which
    an instant has passed. `asked`: what this look has requested so far, by asset; `before`: what of it for a cause
    before this moment, `late` if all of it. `below_failure`, `lapses`: computed when first needed; facts that it rests
    on do not change after that."""

    now: float
    at: float | None = None
    pulses: dict[str, Pulses] = field(default_factory=dict[str, Pulses])
    deleted: dict[str, BitMap] = field(default_factory=dict[str, BitMap])
    shifted: set[str] = field(default_factory=set[str])
    rewired: set[str] = field(default_factory=set[str])
    touched: dict[str, BitMap] = field(default_factory=dict[str, BitMap])
    ticked: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    asked: dict[str, BitMap] = field(default_factory=dict[str, BitMap])
    below_failure: Found = field(default_factory=Found)
    lapses: dict[str, dict[str, BitMap]] = field(default_factory=dict[str, dict[str, BitMap]])
    visited: int = 0
    late: bool = False
    before: dict[str, BitMap] = field(default_factory=dict[str, BitMap])

    @property
    def time(self) -> float:
        """What it is about: when the transaction was committed; where there is none, now."""
        return self.now if self.at is None else self.at

    def of(self, asset: str) -> Pulses:
        """To read."""
        return self.pulses.get(asset, _NO_PULSES)

    def touch(self, asset: str, partitions: BitMap) -> None:
        """Of these, a condition that looks at the asset may remember something."""
        known = self.touched.get(asset)
        self.touched[asset] = partitions if known is None else known | partitions

    def change(self, asset: str) -> Pulses:
        """To add to."""
        found = self.pulses.get(asset)
        if found is None:
            found = self.pulses[asset] = Pulses()
        return found

    def asked_of(self, asset: str) -> BitMap:
        """What this look has requested of an asset."""
        return self.asked.get(asset, EMPTY)


def apply(world: World, events: Sequence[Event], now: float) -> Moment:
    """Move the facts on by one transaction."""
    moment = Moment(now, at=events[0].at if events else None)
    failed_runs = {event.run_id for event in events if event.type == "failed"}
    for event in events:
        if event.type in ("partition_added", "partition_deleted"):
            _membership(world, moment, event)
        elif event.asset is not None and event.type.startswith("freshness_"):
            _freshness(world, moment, event, event.asset)
        elif event.type == "code_changed":
            pulses = moment.change(event.asset or "")
            pulses.code = True
            pulses.touched |= world.live(event.asset or "")
        elif event.type == "rewired":
            moment.rewired.add(event.asset or "")
        elif event.asset is not None and event.type.startswith("check_"):
            _check(world, moment, event, event.asset)
        elif event.asset is not None:
            _step(world, moment, event, event.asset, failed_runs)
    return moment


def _membership(world: World, moment: Moment, event: Event) -> None:
    assets = world.topology.members.get(event.set or "", ())
    newest = world.newest(assets[0]) if assets else EMPTY
    numbers = world.member(event)
    if not numbers:
        return
    moment.shifted.update(world.topology.shifted.get(event.set or "", ()))
    for asset in assets:
        pulses = moment.change(asset)
        pulses.touched |= world.live(asset) | numbers if world.latest_counts else numbers | newest
        if event.type == "partition_added":
            pulses.added |= numbers
            continue
        levels = world.change(asset)
        if not numbers.isdisjoint(levels.lapsed | levels.warned):
            pulses.unsettled = True
        levels.forget(numbers)
        checked = (pulses.withheld, pulses.cleared, pulses.cleared_anew)
        for bits in (pulses.updated, pulses.changed, pulses.added, pulses.failed, *checked):
            bits -= numbers
        moment.deleted.setdefault(asset, BitMap()).update(numbers)


def _freshness(world: World, moment: Moment, event: Event, asset: str) -> None:
    partition = event.partition or 0
    if asset not in world.topology.policies or (partition == 0) == (asset in world.topology.by_partition):
        return  # of a policy that an edit took back meanwhile
    levels, pulses = world.change(asset), moment.change(asset)
    levels.lapsed.discard(partition)
    levels.warned.discard(partition)
    if event.type == "freshness_lapsed":
        levels.lapsed.add(partition)
        pulses.lapsed.add(partition)
    elif event.type == "freshness_warned":
        levels.warned.add(partition)
    pulses.touched |= world.newest(asset) if partition == 0 else BitMap([partition])
    pulses.unsettled = True


def _check(world: World, moment: Moment, event: Event, asset: str) -> None:
    data: Any = event.data
    partition, passed = event.partition or 0, event.type == "check_passed"
    whole = partition == 0 and world.topology.set_of.get(asset) is not None
    if "stale" in data or not (whole or world.is_live(asset, partition)):
        return
    levels, pulses = world.change(asset), moment.change(asset)
    levels.checked(data["check"], partition, passed=passed)
    pulses.touched |= world.live(asset) if whole else BitMap([partition])
    if asset not in world.topology.gated:
        return
    if "held" in data:
        levels.held.add(partition)
        _hold(pulses, partition, held=True)
    elif "cleared" in data:
        levels.held.discard(partition)
        _hold(pulses, partition, held=False)
        pulses.cleared.add(partition)
        if "same" not in data:
            pulses.cleared_anew.add(partition)


def _hold(pulses: Pulses, partition: int, *, held: bool) -> None:
    """What came before in this transaction counts no more."""
    (pulses.withheld.add if held else pulses.withheld.discard)(partition)
    pulses.cleared.discard(partition)
    pulses.cleared_anew.discard(partition)


def _foreseen(world: World, levels: Levels, kind: str, partition: int) -> bool:
    """Whether those below see the same of the partition as before."""
    if kind not in ("requested", "started") or world.starts_count or levels.lapsed or levels.warned:
        return False
    return partition in levels.in_progress or partition in levels.asked


def _step(world: World, moment: Moment, event: Event, asset: str, failed_runs: set[int | None]) -> None:
    kind, partition = event.type, event.partition or 0
    if kind not in ("requested", "started", "materialized", "failed", "released", "chain_stopped"):
        return
    levels, pulses = world.change(asset), moment.change(asset)
    (pulses.begun if _foreseen(world, levels, kind, partition) else pulses.touched).add(partition)
    if kind == "chain_stopped":
        levels.asked.discard(partition)
        pulses.stopped.add(partition)
        pulses.handled.add(partition)
        return
    if kind in ("requested", "started"):
        if kind == "requested" or partition not in levels.in_progress:
            pulses.requested.add(partition)
        levels.asked.discard(partition)
        levels.in_progress.add(partition)
        if kind == "requested":
            levels.queued.add(partition)
        else:
            levels.queued.discard(partition)
            pulses.started.add(partition)
            pulses.handled.add(partition)
        return
    live = world.is_live(asset, partition)
    if kind == "materialized" and live:
        data: Any = event.data
        held = bool(data) and "held" in data and asset in world.topology.gated
        levels.made(partition, held=held)
        pulses.updated.add(partition)
        if held or pulses.withheld or pulses.cleared:
            _hold(pulses, partition, held=held)
        if not (data and data.get("same")):
            pulses.changed.add(partition)
        pulses.tags[partition] = data.get("tags", {}) if data else {}
        if levels.lapsed or levels.warned:
            pulses.unsettled = True
            pulses.touched |= world.newest(asset)
        if not (data and data.get("stale")):
            levels.restore(partition)
        if event.run_id is None:
            pulses.reported.add(partition)
            pulses.handled.add(partition)
    elif kind == "failed" and live:
        levels.failed.add(partition)
        pulses.failed.add(partition)
    elif kind == "released":
        (pulses.skipped if event.run_id is not None and event.run_id in failed_runs else pulses.canceled).add(partition)
        if event.idle and partition in levels.queued:
            pulses.handled.add(partition)
    if event.idle:
        levels.in_progress.discard(partition)
        levels.queued.discard(partition)
