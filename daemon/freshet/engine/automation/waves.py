"""From the partitions that one look asked for to runs: along dependencies of equal partitions, one run."""

from __future__ import annotations

from pyroaring import BitMap

from freshet.engine.automation.evaluation import Request
from freshet.engine.automation.topology import Topology

__all__ = ["waves"]


def waves(topology: Topology, asked: dict[str, BitMap]) -> tuple[Request, ...]:
    """One request for each group of assets, connected by dependencies, that are asked for in the same partitions.

    Partitions asked for by the same assets are treated as one, so that the cost is that of assets and of distinct
    combinations, not of partitions.
    """
    by_set: dict[str | None, list[str]] = {}
    for asset in topology.ordered(asked):
        by_set.setdefault(topology.set_of[asset], []).append(asset)
    found: list[Request] = []
    for name, assets in by_set.items():
        for chosen, bits in _combinations(assets, asked):
            for group in _connected(topology, chosen):
                request = Request(tuple(group), 0 if name is None else bits.copy(), name)
                found.append(request)
    return tuple(sorted(found, key=lambda request: topology.position[request.assets[0]]))


def _combinations(assets: list[str], asked: dict[str, BitMap]) -> list[tuple[list[str], BitMap]]:
    atoms: list[tuple[list[str], BitMap]] = []
    for asset in assets:
        rest = asked[asset].copy()
        split: list[tuple[list[str], BitMap]] = []
        for members, bits in atoms:
            shared = bits & rest
            if not shared:
                split.append((members, bits))
                continue
            others = bits - shared
            if others:
                split.append((list(members), others))
            members.append(asset)
            split.append((members, shared))
            rest -= shared
        if rest:
            split.append(([asset], rest))
        atoms = split
    return atoms


def _connected(topology: Topology, assets: list[str]) -> list[list[str]]:
    group_of: dict[str, list[str]] = {}
    for asset in assets:
        own = group_of[asset] = [asset]
        for edge in topology.edges[asset]:
            other = group_of.get(edge.asset) if edge.kind == "same" else None
            if other is not None and other is not own:
                small, large = sorted((own, other), key=len)
                large.extend(small)
                for name in small:
                    group_of[name] = large
                own = large
    unique = {id(group): group for group in group_of.values()}
    return [topology.ordered(group) for group in unique.values()]
