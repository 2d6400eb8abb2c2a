"""What of a memory a condition still asks for, after an edit."""

from __future__ import annotations

from freshet.definitions.condition import AllDepsMatch, AnyDepsMatch, AssetMatches
from freshet.engine.automation.program import Node, Program, within
from freshet.engine.automation.topology import Topology

__all__ = ["wanted"]


def wanted(topology: Topology, asset: str, program: Program | None, key: str) -> bool:
    """Whether a key of an asset's memory, `ABOVE/NODE.PART=VALUE`, belongs to a node that its condition has, and that
    looks at what is above in this very way: what is asked for no longer is not to be found there by a later edit."""
    if program is None:
        return False
    *path, last = key.split("/")
    name = last.partition(".")[0]
    if not path:
        return name in program.keys
    nodes = within(program.root)
    for above in path:
        nodes = {one for node in nodes if _sees(topology, asset, node, above) for one in within(node.kids[0])}
        asset = above
    return any(node.key == name for node in nodes)


def _sees(topology: Topology, asset: str, node: Node, above: str) -> bool:
    condition = node.condition
    if isinstance(condition, AssetMatches):
        return condition.asset == above
    if not isinstance(condition, (AnyDepsMatch, AllDepsMatch)) or asset not in topology.edges:
        return False
    return any(edge.asset == above for edge in topology.chosen(asset, node.deps))
