"""Why: a condition's tree with the values of its nodes for one partition, and how what it depends on stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pyroaring import BitMap

from freshet.definitions.condition import (
    AllDepsMatch,
    AnyDepsMatch,
    AssetMatches,
    CheckIs,
    ChecksMatch,
    CronTickPassed,
    Debounce,
    ExecutedWithTags,
    LapseUnserved,
    Operand,
    WhenDepsReady,
)
from freshet.engine.automation.clockwork import next_instant
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.memory import Stamps
from freshet.engine.automation.operators import value
from freshet.engine.automation.program import Node
from freshet.engine.automation.ready import hold_of
from freshet.engine.automation.state import EMPTY, World
from freshet.engine.automation.topology import Edge

__all__ = ["Explanation", "Standing", "explain", "standing"]

Hold = Literal["hard", "soft"]
_EVENTS: dict[str, tuple[str, ...]] = {
    "missing": ("partition_added", "materialized"),
    "in_progress": ("requested", "started"),
    "execution_failed": ("failed",),
    "newly_updated": ("materialized",),
    "newly_requested": ("requested", "started"),
    "newly_missing": ("partition_added",),
    "newly_handled": ("started", "released"),
    "freshness_passed": ("freshness_restored", "freshness_warned", "freshness_lapsed"),
    "freshness_lapsed": ("freshness_lapsed",),
    "freshness_warned": ("freshness_warned",),
    "upstream_lapsed": ("freshness_lapsed",),
    "lapse_unserved": ("freshness_lapsed",),
    "code_version_changed": ("code_changed",),
    "data_version_changed": ("materialized",),
    "executed_with_tags": ("materialized",),
    "check_passed": ("check_passed", "check_failed"),
    "check_failed": ("check_passed", "check_failed"),
    "any_checks_match": ("check_passed", "check_failed"),
    "all_checks_match": ("check_passed", "check_failed"),
}
"""What each kind of node rests on; of others no event is told."""
_TOLD = (Operand, LapseUnserved, ExecutedWithTags, CheckIs, ChecksMatch)
_OF_SOURCES = frozenset({"upstream_lapsed", "lapse_unserved"})


@dataclass(frozen=True, slots=True)
class Explanation:
    """A node: of which asset, its expression and label, whether it is true now.

    `asked`: the partitions that it was evaluated for, of a dependency those that the mapping names; `true_of`:
    those of them of which it is true. `since`: from when on, where that is remembered. `until`: when what holds
    back ends at the latest, or the instant comes that it waits for. `attempts`: of a lapse, how many runs failed,
    and how many may. `events`: the types it rests on, to be found in the history of `of`.
    """

    asset: str
    expression: str
    label: str | None
    value: bool
    since: float | None = None
    until: float | None = None
    children: tuple[Explanation, ...] = ()
    kind: str = ""
    asked: BitMap = EMPTY
    true_of: BitMap = EMPTY
    attempts: tuple[int, int] | None = None
    events: tuple[str, ...] = ()
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """A dependency of one partition. `named`: the partitions that the mapping names; what of them is materialized,
    failed for good, under way (`moving`: queued, running, asked for or on its way) and none of these. `holds`: as the
    table in `WhenDepsReady` says; `held`: of the materialized, those that blocking checks have not let through."""

    asset: str
    mapping: str
    named: BitMap
    materialized: BitMap
    failed: BitMap
    moving: BitMap
    missing: BitMap
    holds: Hold | None
    held: BitMap = EMPTY


def explain(look: Look, root: Node, scope: Scope) -> Explanation:
    """`look` is at rest and has a copy of the memory; `scope` holds one partition, or those of a dependency."""
    return _explain(look, _once(root, {}), scope)


def _once(node: Node, known: dict[int, Node]) -> Node:
    """The same, each node evaluated once: what is asked again has not moved on meanwhile."""
    if node.index not in known:
        known[node.index] = replace(node, kids=tuple(_once(kid, known) for kid in node.kids), shared=True)
    return known[node.index]


def _explain(look: Look, node: Node, scope: Scope) -> Explanation:
    condition, true_of = node.condition, value(look, node, scope)
    kind = str(getattr(condition, "kind", ""))
    if isinstance(condition, (AnyDepsMatch, AllDepsMatch)):
        edges = look.world.topology.chosen(scope.asset, node.deps)
        children = tuple(_explain(look, node.kids[0], look.above(scope, edge)) for edge in edges)
    elif isinstance(condition, AssetMatches):
        edge = look.world.topology.named[scope.asset][condition.asset]
        children = (_explain(look, node.kids[0], look.above(scope, edge)),)
    else:
        children = tuple(_explain(look, kid, scope) for kid in node.kids)
    since, until = _waits(look, node, scope)
    sources = look.world.topology.sources(scope.asset) if kind in _OF_SOURCES else ()
    return Explanation(
        scope.asset,
        str(condition),
        condition.label,
        bool(true_of),
        since,
        until,
        children,
        kind,
        scope.candidates,
        true_of,
        _attempts(look, node, scope),
        _EVENTS.get(kind, ()) if isinstance(condition, _TOLD) else (),
        (*(() if kind == "upstream_lapsed" else (scope.asset,)), *sources),
    )


def _waits(look: Look, node: Node, scope: Scope) -> tuple[float | None, float | None]:
    """Since when, if that is known, and until when at the latest something of the node waits."""
    if isinstance(node.condition, CronTickPassed):
        return None, next_instant(look.memory, node)
    times = look.memory.deadlines(look.key(node, scope), scope.candidates)
    if not times:
        return None, None
    condition = node.condition
    until = min(times) if isinstance(condition, Debounce) else max(times)
    if isinstance(condition, WhenDepsReady) and condition.max_wait is not None:
        waits = look.memory.stamps(look.key(node, scope, f".wait{Stamps.DEADLINE}"), deadline=True)
        held = [when for when, _ in waits.items(scope.candidates)]
        return (max(held) - condition.max_wait if held else None), until
    return None, until


def _attempts(look: Look, node: Node, scope: Scope) -> tuple[int, int] | None:
    if not isinstance(node.condition, LapseUnserved):
        return None
    tries = look.memory.stamps(look.key(node, scope, ".tries")).items(scope.candidates)
    return (int(max(count for count, _ in tries)), node.condition.attempts) if tries else None


def standing(look: Look, scope: Scope, edge: Edge) -> Standing:
    """How a dependency stands. `scope` holds one partition."""
    world: World = look.world
    levels, named = world.levels(edge.asset), world.up(edge, scope.candidates)
    moving = levels.in_flight(named) | (named & levels.coming)
    made, failed = named & levels.materialized, (named & levels.failed) - moving
    mapping = "one" if edge.kind in ("same", "one") else edge.kind
    rest = named - made - failed - moving
    holds, held = hold_of(look, edge, scope.candidates), named & levels.held
    return Standing(edge.asset, mapping, named, made, failed, moving, rest, holds, held)
