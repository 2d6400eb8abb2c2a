"""What was committed and not looked at before a restart: facts go back where they can, and what has moved is noted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyroaring import BitMap

from freshet.engine.automation.moment import Moment
from freshet.engine.automation.state import EMPTY, World
from freshet.store.records import Event

__all__ = ["rewind"]

_STEPS = frozenset({"requested", "started", "materialized", "failed", "released"})
_MEMBERSHIP = frozenset({"partition_added", "partition_deleted"})


def rewind(world: World, behind: Iterable[Event]) -> Moment:
    """Facts as they were before `behind`, as far as that is known; returns what differs from them all the same, for
    the first look: it is to see whatever has moved since the memory of conditions was written.

    Partitions that come are not there yet, so that what was the newest before them is looked at when they come. Those
    that go in the end are gone, and do not come before: nothing is to be asked of them. What ends or begins next was in
    progress before it (a start may be of a run that was queued), and what is requested next was asked for before it (by
    an evaluation that is committed; another's request is joined, since its run begins after these events), so that
    nothing is asked for a second time. What was made, failed or checked, and freshness, stay as they
    are now.
    """
    moment, shrunk = Moment(0.0), dict[str, BitMap]()
    gone, last = dict[str, BitMap](), 0
    numbers, places = dict[str, BitMap](), set[tuple[str, int]]()
    for event in behind:
        last = event.seq
        if event.set is not None and event.type in _MEMBERSHIP:
            known = numbers.get(event.set, EMPTY)
            if event.type == "partition_added":
                world.hide(event.set, BitMap(event.numbers) - known)
                gone[event.set] = gone.get(event.set, EMPTY) - BitMap(event.numbers)
            else:
                shrunk[event.set] = shrunk.get(event.set, EMPTY) | BitMap(event.numbers)
                gone[event.set] = gone.get(event.set, EMPTY) | BitMap(event.numbers)
            numbers[event.set] = known | BitMap(event.numbers)
        elif event.asset is not None and event.type.startswith("freshness_"):
            pulses = moment.change(event.asset)
            pulses.unsettled = True
            if event.partition:
                pulses.touched.add(event.partition)
        elif event.type == "rewired":  # it depends on others from the start
            moment.rewired.add(event.asset or "")
        elif event.asset is not None and event.type.startswith("check_"):
            whole = not event.partition and world.topology.set_of.get(event.asset) is not None
            moment.change(event.asset).touched |= world.live(event.asset) if whole else BitMap([event.partition or 0])
        elif event.asset is not None and event.type in _STEPS:
            _step(world, moment, event, event.asset, places)
    world.bury(gone, last)
    for name in shrunk:
        moment.shifted.update(world.topology.shifted.get(name, ()))
        moment.shifted.update(_of_all(world, name))
    moved = set[str]()
    for name, went in shrunk.items():
        for asset in world.topology.members.get(name, ()):
            moved.add(asset)
            pulses = moment.change(asset)
            pulses.touched |= went & world.live(asset)  # what comes back has nothing of what it had
            pulses.unsettled = True
            moment.deleted[asset] = EMPTY
    moved.update(asset for asset, pulses in moment.pulses.items() if pulses.unsettled)
    for asset in moved & world.topology.set_of.keys():
        moment.change(asset).touched |= world.newest(asset)
    return moment


def _of_all(world: World, name: str) -> Iterator[str]:
    """Those that look at all partitions of a set, of which none may be left."""
    for asset in world.topology.members.get(name, ()):
        yield from (edge.below for edge in world.topology.followers(asset) if edge.kind in ("all", "last"))


def _step(world: World, moment: Moment, event: Event, asset: str, places: set[tuple[str, int]]) -> None:
    partition = event.partition or 0
    pulses = moment.change(asset)
    pulses.touched.add(partition)
    pulses.unsettled = pulses.unsettled or event.type == "materialized"
    reported = event.type == "materialized" and event.run_id is None
    if reported or (asset, partition) in places:
        return
    places.add((asset, partition))
    levels = world.change(asset)
    for bits in (levels.in_progress, levels.queued):
        (bits.discard if event.type == "requested" else bits.add)(partition)
    if event.type == "requested":
        levels.asked.add(partition)
