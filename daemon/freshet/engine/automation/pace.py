"""Pacing of what maps several partitions: a stream of arrivals costs some runs each `max_wait`, not one each."""

from __future__ import annotations

from pyroaring import BitMap

from freshet.definitions.condition import Selection
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.memory import Stamps, round_up
from freshet.engine.automation.program import Node
from freshet.engine.automation.state import EMPTY

__all__ = ["MAX_LEVEL", "quiet_time", "unquiet"]

MAX_LEVEL = 4


def quiet_time(max_wait: float, level: float) -> float:
    """How long no partition must arrive before a run that follows others: doubles with each of them."""
    return max_wait / 64 * float(2 ** min(int(level), MAX_LEVEL))


def unquiet(look: Look, node: Node, max_wait: float, scope: Scope, asked_for: BitMap) -> BitMap:
    """Those of `asked_for` that wait until no more partitions arrive.

    Remembered by partition: when its last run began (to max_wait/16), how many runs followed each other closely,
    and until when it waits (to a quarter of that time).
    """
    if scope.asset not in look.world.topology.fan_ins:
        return EMPTY
    memory, now = look.memory, look.moment.now
    began = memory.stamps(look.key(node, scope, ".began"))
    level = memory.stamps(look.key(node, scope, ".level"))
    quiet = memory.stamps(look.key(node, scope, f".quiet{Stamps.DEADLINE}"), deadline=True)
    recent = BitMap()
    for when, bits in began.items(scope.candidates):
        if now <= when + 2 * max_wait:
            recent |= bits
    started = look.pulses(scope).started & scope.candidates
    if started:
        for value, bits in level.items(started & recent):
            level.put(min(value + 1, float(MAX_LEVEL)), bits)
        level.put(0.0, started - recent)
        began.put(round_up(now, max_wait / 16), started)
    quiet.clear(scope.candidates - asked_for)
    if not asked_for:
        return EMPTY
    arrived = _arrived(look, scope, recent & asked_for, node.deps)
    for value, bits in level.items(arrived) if arrived else ():
        time = quiet_time(max_wait, value)
        quiet.put(round_up(now + time, time / 4), bits)
    return quiet.known(asked_for) - quiet.until(now)


def _arrived(look: Look, scope: Scope, among: BitMap, deps: Selection | None) -> BitMap:
    """Those that depend, as on one of several, on something that arrived in this transaction."""
    found = BitMap()
    if look.pulsing and among:
        for edge in look.world.topology.chosen(scope.asset, deps):
            if edge.several and (arrived := look.moment.of(edge.asset).arrived):
                found |= look.world.depending(edge, arrived, among)
    return found
