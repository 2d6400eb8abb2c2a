"""`WhenDepsReady`: which partitions the upstreams hold back, and for how long at most."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Literal

from pyroaring import BitMap

from freshet.definitions.condition import Selection, WhenDepsReady
from freshet.engine.automation.lapses import refreshed_above
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.memory import Stamps, round_up
from freshet.engine.automation.moment import Found
from freshet.engine.automation.pace import unquiet
from freshet.engine.automation.program import Node
from freshet.engine.automation.state import EMPTY, Levels
from freshet.engine.automation.topology import Edge

__all__ = ["below_failure", "hold_of", "holds", "when_deps_ready"]


def when_deps_ready(look: Look, node: Node, ready: WhenDepsReady, scope: Scope, asked_for: BitMap) -> BitMap:
    """Those of `asked_for` that nothing holds back, or softly held for `max_wait` already.

    Deadlines are multiples of max_wait/64: never early, late by that much at most.
    """
    if ready.max_wait is None:
        hard, soft = _held(look, node, ready, scope, asked_for)
        return asked_for - hard - soft
    memory, now = look.memory, look.moment.now
    if not asked_for and not memory.numbered and scope.asset not in look.world.topology.fan_ins:
        return asked_for
    waits = memory.stamps(look.key(node, scope, f".wait{Stamps.DEADLINE}"), deadline=True)
    waits.clear(scope.candidates - asked_for)
    restless = EMPTY if ready.after_lapsed else unquiet(look, node, ready.max_wait, scope, asked_for)
    if not asked_for:
        return asked_for
    hard, soft = _held(look, node, ready, scope, asked_for)
    soft = (soft | restless) - hard
    if not soft:
        return asked_for - hard
    waits.put(round_up(now + ready.max_wait, ready.max_wait / 64), soft - waits.known(soft))
    return asked_for - hard - (soft - waits.until(now))


def _held(look: Look, node: Node, ready: WhenDepsReady, scope: Scope, asked_for: BitMap) -> tuple[BitMap, BitMap]:
    if not asked_for:
        return EMPTY, EMPTY
    hard, soft = holds(look, scope, asked_for, node.deps)
    if ready.after_lapsed:
        soft = soft | _being_refreshed(look, scope, asked_for)
    if sharing := _sharing(look, scope, asked_for, node.deps):
        if node.index not in look.program.brief or scope.path:
            look.leant |= sharing
        elif ready.max_wait is not None:
            look.joined |= sharing
    return hard, soft


def _sharing(look: Look, scope: Scope, asked_for: BitMap, deps: Selection | None) -> BitMap:
    """Those that could share the run of what this look has asked for above; at rest the look is over."""
    found = BitMap()
    for edge in look.world.topology.chosen(scope.asset, deps):
        if edge.kind == "same":
            found |= look.shared(edge.asset) & asked_for
    return found


def holds(look: Look, scope: Scope, asked_for: BitMap, deps: Selection | None = None) -> tuple[BitMap, BitMap]:
    """What holds back which of `asked_for`: hard and soft, as the table in `WhenDepsReady` says."""
    hard, soft = BitMap(), BitMap()
    for edge in look.world.topology.chosen(scope.asset, deps):
        is_hard, is_soft = (_several if edge.several else _single)(look, edge, asked_for)
        hard |= is_hard
        soft |= is_soft
    return hard, soft


def hold_of(look: Look, edge: Edge, partition: BitMap) -> Literal["hard", "soft"] | None:
    """How one dependency holds back a single partition, if it does."""
    hard, soft = (_several if edge.several else _single)(look, edge, partition)
    return "hard" if hard else "soft" if soft else None


def _single(look: Look, edge: Edge, asked_for: BitMap) -> tuple[BitMap, BitMap]:
    world, levels = look.world, look.world.levels(edge.asset)
    if edge.kind == "same":
        shared = look.shared(edge.asset)
        return asked_for - levels.usable - shared, _moving(levels, asked_for) - shared
    named = world.up(edge, asked_for)
    there = world.depending(edge, named & levels.usable, asked_for)
    return asked_for - there, world.depending(edge, _moving(levels, named), asked_for)


def _several(look: Look, edge: Edge, asked_for: BitMap) -> tuple[BitMap, BitMap]:
    world, levels = look.world, look.world.levels(edge.asset)
    asked_for = world.having(edge, asked_for)
    named = world.up(edge, asked_for)
    there = named & levels.usable
    if not there:
        return asked_for, EMPTY
    moving = _moving(levels, named)
    stuck = named - there - moving
    stuck -= below_failure(look, edge.asset, stuck)
    hard = (asked_for - world.depending(edge, there, asked_for)) | world.depending(edge, stuck, asked_for)
    return hard, world.depending(edge, moving, asked_for)


def _moving(levels: Levels, among: BitMap) -> BitMap:
    flying = levels.in_flight(among)
    return flying | (among & levels.coming) if levels.coming else flying


def _being_refreshed(look: Look, scope: Scope, asked_for: BitMap) -> BitMap:
    """Those that come after what is lapsed above them and in progress, unless they can share its run."""
    found, shared = BitMap(), _sharing(look, scope, asked_for, None)
    for source in look.world.topology.sources(scope.asset):
        if held := asked_for & refreshed_above(look, source, scope.asset):
            same_set = look.world.topology.set_of[source] == look.world.topology.set_of[scope.asset]
            joined = shared & look.shared(source) if same_set else EMPTY
            found |= held - joined
    return found


def below_failure(look: Look, asset: str, among: BitMap) -> BitMap:
    """Partitions that failed for good or are held by their blocking checks, and missing ones that cannot be made
    because of such a one above; none that is in progress."""
    if not among:
        return EMPTY
    known = look.moment.below_failure

    def untried(name: str, bits: BitMap) -> BitMap:
        levels = look.world.levels(name)
        return bits - levels.materialized - levels.failed

    for name, scope in _ascent(look, asset, among, known, untried):
        known.learn(name, scope, _below_failure(look, name, scope))
    return known.among(asset, among)


def _below_failure(look: Look, asset: str, scope: BitMap) -> BitMap:
    world, levels = look.world, look.world.levels(asset)
    idle = scope - levels.in_flight(scope)
    missing = idle - levels.materialized
    found = (levels.failed | levels.held if levels.held else levels.failed) & idle
    for edge in world.topology.edges[asset]:
        rest = missing - found
        if not rest:
            break
        above = world.up(edge, rest)
        if edge.several:
            rest = rest - world.depending(edge, above & world.levels(edge.asset).usable, rest)
        found |= world.depending(edge, look.moment.below_failure.among(edge.asset, above), rest)
    return found


def _ascent(
    look: Look, asset: str, among: BitMap, known: Found, further: Callable[[str, BitMap], BitMap]
) -> list[tuple[str, BitMap]]:
    """What is not yet known of these partitions and of those above that they rest on, in dependency order.

    It goes up from the partitions that `further` gives. No recursion: graphs may be deeper than Python's stack.
    """
    topology, wanted = look.world.topology, {asset: known.unknown(asset, among)}
    names, heap = list[str](), [(-topology.position[asset], asset)]
    while heap:
        _, name = heapq.heappop(heap)
        names.append(name)
        rest = further(name, wanted[name])
        for edge in topology.edges[name] if rest else ():
            above = known.unknown(edge.asset, look.world.up(edge, rest))
            if not above:
                continue
            if edge.asset not in wanted:
                wanted[edge.asset] = BitMap()
                heapq.heappush(heap, (-topology.position[edge.asset], edge.asset))
            wanted[edge.asset] |= above
    return [(name, wanted[name]) for name in reversed(names)]
