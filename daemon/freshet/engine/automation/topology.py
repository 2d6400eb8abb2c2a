"""The assets' graph as evaluation uses it, and how partitions map along its edges."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Literal, NamedTuple

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.condition import Selection
from freshet.definitions.graph import Definitions
from freshet.definitions.mapping import All, ByDimension, Identity, Last, Mapping, gives_one, paired_dimensions
from freshet.definitions.partitions import MultiPartitions, PartitionsSpec

__all__ = ["Edge", "Topology"]


class Edge(NamedTuple):
    """The dependency of `below` on `asset`. `several`: a partition depends on several, rather than on one.

    `same`: the same number on both sides (one set, or both without partitions). `one`: the single value of an
    upstream without partitions, for each partition. `last`: the newest partition. `all`: every partition. `some`: as
    the link between the two sets says. `dep` False: no dependency, but `below` has a condition that names `asset`.
    """

    asset: str
    below: str
    kind: Literal["same", "one", "last", "all", "some"]
    several: bool
    dep: bool = True


class Topology:
    """Edges in both directions, sets and policies. Made anew for each version of the definitions.

    `shifted`: by set, the assets below edges that name other partitions when a key of it comes or goes, though nothing
    happened to the upstream's own: where a dimension maps to all or the last of it. `policies`: the assets that have a
    freshness policy; `by_partition`: those of which it holds for each partition. `named`: by asset, the edges to those
    that its condition names, dependencies or not; `watchers`: those that are no dependencies, by what is named.
    `gated`: the assets with blocking checks; `checks`: of each asset that has any, the names of its checks, with
    whether they are blocking.
    """

    def __init__(self, definitions: Definitions) -> None:
        self.position = definitions.position
        self.spec_of = {spec.name: spec.partitions for spec in definitions.assets}
        self.set_of = {name: spec.name if spec else None for name, spec in self.spec_of.items()}
        self.edges: dict[str, tuple[Edge, ...]] = {}
        self.below: dict[str, list[Edge]] = {name: [] for name in self.set_of}
        self.members: dict[str, list[str]] = {}
        self.shifted: dict[str, list[str]] = {}
        self.named: dict[str, dict[str, Edge]] = {}
        self.watchers: dict[str, list[Edge]] = {}
        self.policies = frozenset(spec.name for spec in definitions.assets if spec.freshness is not None)
        self.by_partition = frozenset(
            spec.name
            for spec in definitions.assets
            if spec.partitions and spec.freshness and spec.freshness.per_partition
        )
        self.gated = frozenset(definitions.gates)
        self.checks = {
            name: tuple((one.name, one.blocking) for one in specs) for name, specs in definitions.checks_of.items()
        }
        self._sources: dict[str, tuple[str, ...]] = {}
        self._labels = {spec.name: (spec.name, spec.group, spec.tags) for spec in definitions.assets}
        self._chosen: dict[tuple[str, Selection], tuple[Edge, ...]] = {}
        for spec in definitions.assets:
            self.edges[spec.name] = edges = tuple(self._edge(definitions, spec, dep) for dep in spec.deps)
            for edge in edges:
                self.below[edge.asset].append(edge)
            if spec.partitions is not None:
                self.members.setdefault(spec.partitions.name, []).append(spec.name)
        for name, others in definitions.watched.items():
            self._watch(definitions, definitions.asset[name], others)

    def _watch(self, definitions: Definitions, spec: AssetSpec, names: Iterable[str]) -> None:
        known = {edge.asset: edge for edge in self.edges[spec.name]}
        found = self.named[spec.name] = dict[str, Edge]()
        for name in names:
            edge = known.get(name)
            if edge is None:
                edge = self._edge(definitions, spec, DepSpec(name))._replace(dep=False)
                self.watchers.setdefault(name, []).append(edge)
            found[name] = edge

    def followers(self, asset: str) -> Iterable[Edge]:
        """The edges down from an asset: to those that depend on it, and to others whose conditions name it."""
        found = self.below.get(asset, ())
        more = self.watchers.get(asset)
        return found if more is None else (*found, *more)

    def _edge(self, definitions: Definitions, spec: AssetSpec, dep: DepSpec) -> Edge:
        upstream = self.spec_of[dep.asset]
        if dep.mapping is None and upstream is None and spec.partitions is None:
            return Edge(dep.asset, spec.name, "same", False)
        mapping = definitions.mapping(spec, dep)
        if isinstance(mapping, ByDimension):
            for name in _rests_on(mapping, upstream, spec.partitions):
                self.shifted.setdefault(name, []).append(spec.name)
        several = not gives_one(mapping, upstream, spec.partitions)
        return Edge(dep.asset, spec.name, self._kind(mapping, dep.asset, spec.name), several)

    def _kind(self, mapping: Mapping, above: str, below: str) -> Literal["same", "one", "last", "all", "some"]:
        match mapping:
            case Identity():
                return "same" if self.set_of[below] == self.set_of[above] else "one"
            case All():
                return "all"
            case Last():
                return "last"
            case _:
                return "some"

    @cached_property
    def fan_ins(self) -> frozenset[str]:
        """Assets with a dependency on several partitions of another."""
        return frozenset(name for name, edges in self.edges.items() if any(edge.several for edge in edges))

    @cached_property
    def above_fan_ins(self) -> frozenset[str]:
        """Assets that a dependency on several partitions lies below, at any distance."""
        stack = [edge.asset for edges in self.edges.values() for edge in edges if edge.several]
        found = set(stack)
        while stack:
            for edge in self.edges[stack.pop()]:
                if edge.asset not in found:
                    found.add(edge.asset)
                    stack.append(edge.asset)
        return frozenset(found)

    def chosen(self, asset: str, deps: Selection | None) -> tuple[Edge, ...]:
        """The dependencies that a condition looks at."""
        edges = self.edges[asset]
        if deps is None:
            return edges
        found = self._chosen.get((asset, deps))
        if found is None:
            found = tuple(edge for edge in edges if deps.has(*self._labels[edge.asset]))
            self._chosen[asset, deps] = found
        return found

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
                    if edge.asset in self.policies:
                        nearest.append(edge.asset)
                    else:
                        stack.append(edge.asset)
            found = self._sources[asset] = tuple(sorted(nearest, key=self.position.__getitem__))
        return found

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Names in dependency order."""
        return sorted(names, key=self.position.__getitem__)


def _rests_on(
    mapping: ByDimension, upstream: PartitionsSpec | None, downstream: PartitionsSpec | None
) -> Iterable[str]:
    """The upstream's sets of which a dimension names all or the last."""
    assert upstream is not None and downstream is not None, "it fits"
    for above, _, inner in paired_dimensions(mapping, upstream, downstream):
        if isinstance(inner, All | Last):
            spec = upstream.dimension(above) if above and isinstance(upstream, MultiPartitions) else upstream
            yield spec.name
