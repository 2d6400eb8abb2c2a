"""Looks at assets without partitions: what comes of one rests on a few bits, and is found out once for all looks that
agree in them.

A wave through a thousand assets looks at each of them several times, and at all in the same few ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyroaring import BitMap

from freshet.definitions.condition import WhenDepsReady
from freshet.engine.automation.alike import uniform
from freshet.engine.automation.memory import Memory, Stamps, round_up
from freshet.engine.automation.moment import Moment, Pulses
from freshet.engine.automation.program import Program
from freshet.engine.automation.state import ONE, Levels, World

__all__ = ["Key", "Outcomes"]

_KNOWN_MAX = 10_000
_SHORTEST = 0.001
"""Seconds: what is waited for is never over at once."""
_ASKED = 1 << 16
"""Beside the bits of a state: this look has requested it."""

Key = tuple[Program, int, frozenset[int], frozenset[str]]
"""The condition, the state of the asset and of those next above it, and what is remembered."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a look changes: the keys of memory that it sets and clears; the deadlines that it clears, and those that it
    sets, each with the seconds until then."""

    asked: bool
    sets: tuple[str, ...]
    clears: tuple[str, ...]
    ends: tuple[str, ...]
    waits: tuple[tuple[str, float], ...]


class Outcomes:
    """Of the conditions that `uniform` lets pass, for assets that depend on others without partitions alone, or on
    none: there, it matters for nothing which of those next above are in which state, but only in which states some are.
    Deadlines matter once they have come: such looks are not known here.
    """

    def __init__(self, world: World, programs: Mapping[str, Program]) -> None:
        self._world = world
        self._programs = programs
        self._above: dict[str, tuple[str, ...] | None] = {}
        self._waits: dict[Program, dict[str, float] | None] = {}
        self._known: dict[Key, _Outcome] = {}

    def key(self, moment: Moment, asset: str, memory: Memory) -> Key | None:
        """What the look rests on; None where it is more than can be known here."""
        above = self._above.get(asset, ())
        if above == () and asset not in self._above:
            above = self._above[asset] = self._plain(asset)
        if above is None:
            return None
        keys, deadline = memory.signature()
        if deadline <= moment.now:
            return None
        world, pulses, asked = self._world, moment.pulses, moment.asked
        states = frozenset(
            [_state(world.levels(name), pulses.get(name)) | (_ASKED if name in asked else 0) for name in above]
        )
        return self._programs[asset], _state(world.levels(asset), pulses.get(asset)), states, keys

    def follow(self, key: Key, moment: Moment, asset: str, memory: Memory) -> bool | None:
        """Let come about what is known to come of such a look; whether it asks for the asset. None: nothing is."""
        known = self._known.get(key)
        if known is None:
            return None
        for name in known.sets:
            memory.add(name, ONE)
        for name in known.clears:
            memory.remove(name, ONE)
        for base in known.ends:
            memory.stamps(base, deadline=True).clear(ONE)
        for base, wait in known.waits:
            memory.stamps(base, deadline=True).put(_until(moment.now, wait), ONE)
        if known.asked:
            self._world.change(asset).asked.add(0)
        moment.visited += 1
        return known.asked

    def learn(self, key: Key, moment: Moment, memory: Memory, asked: BitMap, before: Mapping[str, float]) -> None:
        """What came of a look; `before`: the deadlines that there were."""
        waits = self._waits[key[0]]
        after = memory.waiting()
        assert waits is not None, "there is a key"
        for base in before.keys() | after.keys():
            was, now = before.get(base), after.get(base)
            if base not in waits or (was is not None and now is not None and was != now):
                return
            if was is None and now != _until(moment.now, waits[base]):
                return
        old, new = ({name for name in keys if not name.endswith("=")} for keys in (key[3], memory.signature()[0]))
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[key] = _Outcome(
            bool(asked),
            tuple(sorted(new - old)),
            tuple(sorted(old - new)),
            tuple(sorted(before.keys() - after.keys())),
            tuple((base, waits[base]) for base in sorted(after.keys() - before.keys())),
        )

    def _plain(self, asset: str) -> tuple[str, ...] | None:
        """Those next above; None where the condition asks for more, or partitions are concerned."""
        topology = self._world.topology
        if topology.set_of[asset] is not None or self._waits_of(self._programs[asset]) is None:
            return None
        edges = topology.edges[asset]
        if any(edge.kind != "same" or edge.asset == asset for edge in edges):
            return None
        return tuple(edge.asset for edge in edges)

    def _waits_of(self, program: Program) -> dict[str, float] | None:
        """The deadlines that it may set; None where it asks for more than is known here."""
        if program not in self._waits:
            waits = {
                f"{node.key}.wait{Stamps.DEADLINE}": node.condition.max_wait
                for node in program.nodes
                if isinstance(node.condition, WhenDepsReady) and node.condition.max_wait is not None
            }
            fits = uniform(program.root.condition) and all(wait >= _SHORTEST for wait in waits.values())
            self._waits[program] = waits if fits else None
        return self._waits[program]


def _until(now: float, wait: float) -> float:
    return round_up(now + wait, wait / 64)


def _state(levels: Levels, pulses: Pulses | None) -> int:
    """What conditions may ask of an asset, as bits."""
    found = (
        (0 in levels.materialized)
        | (0 in levels.failed) << 1
        | (0 in levels.in_progress) << 2
        | (0 in levels.queued) << 3
        | (0 in levels.asked) << 4
        | (0 in levels.coming) << 5
        | (0 in levels.held) << 6
    )
    if pulses is None:
        return found
    return (
        found
        | (0 in pulses.updated) << 7
        | (0 in pulses.changed) << 8
        | (0 in pulses.requested) << 9
        | (0 in pulses.handled) << 10
        | (0 in pulses.added) << 11
        | (0 in pulses.stopped) << 12
        | (0 in pulses.arrived) << 13
        | (0 in pulses.arrived_anew) << 14
        | pulses.code << 15
    )
