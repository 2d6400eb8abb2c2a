"""The assets' graph as evaluation uses it, and how partitions map along its edges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from freshet.definitions.graph import Definitions

__all__ = ["Edge", "Topology"]


@dataclass(frozen=True, slots=True)
class Edge:
    """A dependency on `asset`.

    `same`: the same number on both sides (one set, or both without partitions). `one`: the single value of an
    upstream without partitions, for each partition. `last`: the newest partition. `all`: every partition.
    """

    asset: str
    kind: Literal["same", "one", "last", "all"]


class Topology:
    """Edges in both directions, sets and policies. Made anew for each version of the definitions."""

    def __init__(self, definitions: Definitions) -> None:
        self.position = definitions.position
        self.set_of = {spec.name: spec.partitions.name if spec.partitions else None for spec in definitions.assets}
        self.edges: dict[str, tuple[Edge, ...]] = {}
        self.below: dict[str, list[tuple[str, Edge]]] = {name: [] for name in self.set_of}
        self.members: dict[str, list[str]] = {}
        self._policies = frozenset(spec.name for spec in definitions.assets if spec.freshness is not None)
        self._sources: dict[str, tuple[str, ...]] = {}
        for spec in definitions.assets:
            edges = tuple(
                Edge(dep.asset, self._kind(spec.name, dep.asset, definitions.reach(spec, dep))) for dep in spec.deps
            )
            self.edges[spec.name] = edges
            for edge in edges:
                self.below[edge.asset].append((spec.name, edge))
            if spec.partitions is not None:
                self.members.setdefault(spec.partitions.name, []).append(spec.name)

    def _kind(
        self, below: str, above: str, mapping: Literal["identity", "all", "last"]
    ) -> Literal["same", "one", "last", "all"]:
        if mapping != "identity":
            return mapping
        return "same" if self.set_of[below] == self.set_of[above] else "one"

    @cached_property
    def fan_ins(self) -> frozenset[str]:
        """Assets with a dependency on all partitions of another."""
        return frozenset(name for name, edges in self.edges.items() if any(edge.kind == "all" for edge in edges))

    def sources(self, asset: str) -> tuple[str, ...]:
        """The nearest assets above that have a freshness policy: on each way up the first one."""
        found = self._sources.get(asset)
        if found is None:
            seen, stack, nearest = {asset}, [asset], list[str]()
            while stack:
                for edge in self.edges[stack.pop()]:
                    if edge.asset in seen:
                        continue
                    seen.add(edge.asset)
                    if edge.asset in self._policies:
                        nearest.append(edge.asset)
                    else:
                        stack.append(edge.asset)
            found = self._sources[asset] = tuple(sorted(nearest, key=self.position.__getitem__))
        return found

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Names in dependency order."""
        return sorted(names, key=self.position.__getitem__)
