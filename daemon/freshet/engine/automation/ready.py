"""`WhenDepsReady`: which partitions the upstreams hold back, and for how long at most."""

from __future__ import annotations

from collections.abc import Callable

from pyroaring import BitMap

from freshet.definitions.condition import WhenDepsReady
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.memory import Stamps, round_up
from freshet.engine.automation.pace import unquiet
from freshet.engine.automation.program import Node
from freshet.engine.automation.state import EMPTY
from freshet.engine.automation.topology import Edge

__all__ = ["below_failure", "holds", "on_way", "when_deps_ready"]


def when_deps_ready(look: Look, node: Node, ready: WhenDepsReady, scope: Scope, asked_for: BitMap) -> BitMap:
    """Those of `asked_for` that nothing holds back, or softly held for `max_wait` already.

    Deadlines are multiples of max_wait/64: never early, late by that much at most.
    """
    if ready.max_wait is None:
        hard, soft = _held(look, ready, scope, asked_for)
        return asked_for - hard - soft
    memory, now = look.memory, look.moment.now
    waits = memory.stamps(look.key(node, scope, f".wait{Stamps.DEADLINE}"), deadline=True)
    waits.clear(scope.candidates - asked_for)
    restless = EMPTY if ready.after_lapsed else unquiet(look, node, ready.max_wait, scope, asked_for)
    if not asked_for:
        return asked_for
    hard, soft = _held(look, ready, scope, asked_for)
    soft = (soft | restless) - hard
    if not soft:
        return asked_for - hard
    waits.put(round_up(now + ready.max_wait, ready.max_wait / 64), soft - waits.known(soft))
    return asked_for - hard - (soft - waits.until(now))


def _held(look: Look, ready: WhenDepsReady, scope: Scope, asked_for: BitMap) -> tuple[BitMap, BitMap]:
    if not asked_for:
        return EMPTY, EMPTY
    hard, soft = holds(look, scope, asked_for)
    return hard, soft | _being_refreshed(look, scope, asked_for) if ready.after_lapsed else soft


def holds(look: Look, scope: Scope, asked_for: BitMap) -> tuple[BitMap, BitMap]:
    """What holds back which of `asked_for`: hard and soft, as the table in `WhenDepsReady` says."""
    hard, soft = BitMap(), BitMap()
    for edge in look.world.topology.edges[scope.asset]:
        if edge.kind == "same":
            levels = look.world.levels(edge.asset)
            shared = look.moment.asked_of(edge.asset)
            hard |= asked_for - levels.materialized - shared
            soft |= levels.in_flight(asked_for) - shared
        else:
            is_hard, is_soft = _several(look, edge) if edge.kind == "all" else _single(look, edge)
            if is_hard:
                hard |= asked_for
            if is_soft:
                soft |= asked_for
    return hard, soft


def _single(look: Look, edge: Edge) -> tuple[bool, bool]:
    named = look.world.newest(edge.asset)
    levels = look.world.levels(edge.asset)
    return not named or not named <= levels.materialized, bool(levels.in_flight(named))


def _several(look: Look, edge: Edge) -> tuple[bool, bool]:
    named = look.world.live(edge.asset)
    levels = look.world.levels(edge.asset)
    if named.isdisjoint(levels.materialized):
        return True, False
    flying = levels.in_flight(named)
    rest = named - levels.materialized - flying
    if not rest:
        return False, bool(flying)
    coming = rest & on_way(look, edge.asset)
    stuck = rest - coming
    return bool(stuck) and not stuck <= below_failure(look, edge.asset), bool(flying or coming)


def _being_refreshed(look: Look, scope: Scope, asked_for: BitMap) -> BitMap:
    """Those that come after a lapsed upstream in progress, unless they can share its run."""
    found = BitMap()
    shared = BitMap()
    for edge in look.world.topology.edges[scope.asset]:
        if edge.kind == "same":
            shared |= look.moment.asked_of(edge.asset) & asked_for
    for source in look.world.topology.sources(scope.asset):
        levels = look.world.levels(source)
        if levels.lapsed and (levels.in_progress or levels.asked):
            same_set = look.world.topology.set_of[source] == look.world.topology.set_of[scope.asset]
            joined = shared & look.moment.asked_of(source) if same_set else EMPTY
            found |= asked_for - joined
    return found


def on_way(look: Look, asset: str) -> BitMap:
    """Missing partitions that will be made without anyone asking: in progress, or automated and below such a one."""
    known = look.moment.on_way
    for name in _ascent(look, asset, known, lambda above: above in look.automated):
        known[name] = _on_way(look, name)
    return known[asset]


def _on_way(look: Look, asset: str) -> BitMap:
    missing = look.world.missing(asset)
    found = look.world.levels(asset).in_flight(missing)
    if asset not in look.automated:
        return found
    for edge in look.world.topology.edges[asset]:
        rest = missing - found
        if not rest:
            break
        above = look.world.up(edge, rest)
        moving = look.world.levels(edge.asset).in_flight(above) | (above & look.moment.on_way.get(edge.asset, EMPTY))
        found |= look.world.down(edge, asset, moving) & rest
    return found


def below_failure(look: Look, asset: str) -> BitMap:
    """Partitions that failed for good, and missing ones that cannot be made because of such a one above; none that
    is in progress."""
    known = look.moment.below_failure
    for name in _ascent(look, asset, known, lambda _: True):
        known[name] = _below_failure(look, name)
    return known[asset]


def _below_failure(look: Look, asset: str) -> BitMap:
    levels, live = look.world.levels(asset), look.world.live(asset)
    idle = live - levels.in_flight(live)
    missing = idle - levels.materialized
    found = levels.failed & idle
    for edge in look.world.topology.edges[asset]:
        rest = missing - found
        if not rest:
            break
        above = look.world.up(edge, rest)
        if edge.kind == "all" and not above.isdisjoint(look.world.levels(edge.asset).materialized):
            continue
        found |= look.world.down(edge, asset, above & look.moment.below_failure.get(edge.asset, EMPTY)) & rest
    return found


def _ascent(look: Look, asset: str, known: dict[str, BitMap], further: Callable[[str], bool]) -> list[str]:
    """What is not yet known of `asset` and of those above it that it rests on, in dependency order.

    It goes up from assets with something missing only. No recursion: graphs may be deeper than Python's stack.
    """
    found, stack = set[str](), [asset]
    while stack:
        name = stack.pop()
        if name in known or name in found:
            continue
        found.add(name)
        if further(name) and look.world.missing(name):
            stack.extend(edge.asset for edge in look.world.topology.edges[name])
    return look.world.topology.ordered(found)
