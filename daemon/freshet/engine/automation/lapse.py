"""`LapseUnserved`: lapses that no run has answered, with the attempts each may cost."""

from __future__ import annotations

from pyroaring import BitMap

from freshet.definitions.condition import LapseUnserved
from freshet.engine.automation.lapses import newly_lapsed_above
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.memory import Memory, Stamps, round_up
from freshet.engine.automation.program import Node, Program

__all__ = ["lapse_unserved", "spent_of"]


def lapse_unserved(look: Look, node: Node, lapse: LapseUnserved, scope: Scope) -> BitMap:
    """The candidates with an unanswered lapse, attempts left, and no back-off in force.

    Its own lapse lasts until anything of it is materialized (then the level is gone). One above it (`.up`) lasts
    until a run has succeeded that began after it. Remembered besides: `.trying`, the runs that began with a lapse
    open and count as its answer; `.tries`, how many of them failed for good in this episode (`attempts`: exhausted; one
    more: canceled, which is no less); `.retry`, until when it backs off (rounded up to delay/64); `.told`, of what it
    was told that it is exhausted, until a success.
    """
    memory, now = look.memory, look.moment.now
    up = look.key(node, scope, ".up")
    trying = look.key(node, scope, ".trying")
    tries = memory.stamps(look.key(node, scope, ".tries"))
    retry = memory.stamps(look.key(node, scope, f".retry{Stamps.DEADLINE}"), deadline=True)
    pulses, candidates = look.pulses(scope), scope.candidates
    own = candidates & look.world.marked(scope.asset, look.levels(scope).lapsed)

    memory.add(trying, candidates & pulses.started & (own | memory.get(up)))
    if done := candidates & pulses.updated:
        memory.remove(up, done & (memory.get(trying) | pulses.reported))
        memory.remove(trying, done)
        tries.clear(done)
        retry.clear(done)
    if failed := candidates & pulses.failed & memory.get(trying):
        memory.remove(trying, failed)
        for count, bits in [(0.0, failed - tries.known(failed)), *tries.items(failed)]:
            if count < lapse.attempts <= count + 1:
                _tell(look, node, scope, bits & (own | memory.get(up)))
            tries.put(min(count + 1, float(lapse.attempts)), bits)
            waits = lapse.delay * float(2 ** min(int(count), lapse.attempts))
            retry.put(round_up(now + waits, lapse.delay / 64), bits)
    if canceled := candidates & pulses.canceled & (memory.get(trying) | memory.get(up) | own):
        memory.remove(trying, canceled)
        memory.remove(up, canceled)
        tries.put(float(lapse.attempts + 1), canceled)
    if begun := candidates & look.world.marked(scope.asset, pulses.lapsed):
        tries.clear(begun)
        retry.clear(begun)
    if above := candidates & newly_lapsed_above(look, scope.asset):
        tries.clear(above)
        retry.clear(above)
        memory.add(up, above)
        memory.remove(trying, above)
    _recover(look, node, scope, memory.get(up))
    exhausted = BitMap()
    for count, bits in tries.items(candidates):
        if count >= lapse.attempts:
            exhausted |= bits
    return (own | (memory.get(up) & candidates)) - exhausted - (retry.known(candidates) - retry.until(now))


def _tell(look: Look, node: Node, scope: Scope, spent: BitMap) -> None:
    """Its attempts are used up; of an asset above, its own condition tells."""
    if spent and not scope.path:
        look.memory.add(look.key(node, scope, ".told"), spent)
        look.exhausted |= spent


def _recover(look: Look, node: Node, scope: Scope, up: BitMap) -> None:
    """What was told to be exhausted has no lapse any more, wherever in the asset that came about."""
    key = look.key(node, scope, ".told")
    told, lapsed = look.memory.get(key), look.levels(scope).lapsed
    if not told or 0 in lapsed:
        return
    recovered = told - lapsed - up
    if recovered:
        look.memory.remove(key, recovered)
        look.recovered |= recovered


def spent_of(memory: Memory, program: Program) -> BitMap:
    """The partitions for which a condition's refresh is exhausted."""
    found = BitMap()
    for node in program.nodes:
        if isinstance(node.condition, LapseUnserved) and (told := memory.get(f"{node.key}.told")):
            for count, bits in memory.stamps(f"{node.key}.tries").items(told):
                if count == node.condition.attempts:
                    found |= bits
    return found
