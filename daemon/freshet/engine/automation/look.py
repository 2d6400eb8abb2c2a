"""One look at one asset: its condition over the partitions that something happened to."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyroaring import BitMap

from freshet.engine.automation.memory import Memory
from freshet.engine.automation.moment import Moment, Pulses
from freshet.engine.automation.program import Node, Program
from freshet.engine.automation.state import EMPTY, Levels, World
from freshet.engine.automation.topology import Edge

__all__ = ["Look", "Scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """The asset that a node is evaluated on: the condition's own, or (within `any_deps_match`) one above it, reached
    by `edge`. `candidates`: the partitions to evaluate. `joins`: one run can hold it and the condition's asset."""

    asset: str
    candidates: BitMap
    path: str = ""
    edge: Edge | None = None
    joins: bool = True


@dataclass(slots=True)
class Look:
    """What a node's evaluation may read: facts, the moment, memory. `pulsing` is False at rest, when the moment is
    over and `newly_...` is false. `first`: the condition has never been evaluated for this asset. `ticked`: the
    nodes of which an instant has passed. `leant`: partitions judged by what they could share a run with, which ends
    with the moment; `joined`: likewise, of no more interest once requested. `exhausted`, `recovered`: of which it is to
    be told that their refresh is."""

    world: World
    moment: Moment
    memory: Memory
    program: Program
    pulsing: bool
    first: bool
    ticked: frozenset[str] = frozenset()
    leant: BitMap = field(default_factory=BitMap)
    joined: BitMap = field(default_factory=BitMap)
    exhausted: BitMap = field(default_factory=BitMap)
    recovered: BitMap = field(default_factory=BitMap)
    values: dict[tuple[int, str], BitMap] = field(default_factory=dict[tuple[int, str], BitMap])
    scopes: dict[str, Scope] = field(default_factory=dict[str, Scope])

    def pulses(self, scope: Scope) -> Pulses:
        """What is newly so of a scope's asset; nothing at rest."""
        return self.moment.of(scope.asset if self.pulsing else "")

    def levels(self, scope: Scope) -> Levels:
        """The facts of a scope's asset."""
        return self.world.levels(scope.asset)

    def shared(self, asset: str) -> BitMap:
        """What this look has requested of an asset, so that another's request can join its run; nothing at rest."""
        return self.moment.asked_of(asset) if self.pulsing else EMPTY

    def key(self, node: Node, scope: Scope, part: str = "") -> str:
        """The name of a node's memory."""
        return f"{scope.path}{node.key}{part}"

    def above(self, scope: Scope, edge: Edge) -> Scope:
        """The scope of a dependency. Its candidates are what the mapping names, and whatever something happened to,
        so that nodes with a memory miss no change."""
        path = f"{scope.path}{edge.asset}/"
        found = self.scopes.get(path)
        if found is None:
            live = self.world.live(edge.asset)
            candidates = live
            if not self.first and not self.ticked:
                touched = self.moment.touched.get(edge.asset, EMPTY)
                candidates = (self.world.up(edge, scope.candidates) | touched) & live
            joins = scope.joins and edge.dep and edge.kind == "same"
            found = self.scopes[path] = Scope(edge.asset, candidates, path, edge, joins)
        return found

    def matched(self, scope: Scope, edge: Edge, above: BitMap) -> BitMap:
        """The candidates of `scope` that depend on at least one of `above`."""
        return self.world.depending(edge, above, scope.candidates)
