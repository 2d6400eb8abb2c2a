"""Lapses above an asset, as its partitions see them: those of single partitions are mapped along the edges."""

from __future__ import annotations

from collections.abc import Callable

from pyroaring import BitMap

from freshet.engine.automation.look import Look
from freshet.engine.automation.state import EMPTY, World

__all__ = ["lapsed_above", "newly_lapsed_above", "refreshed_above"]

_WHOLE = BitMap([0])


def lapsed_above(look: Look, asset: str) -> BitMap:
    """The live partitions below a lapse: the newest below that of a whole asset; below that of a partition those which
    depend on it, along each way past assets without a policy."""

    def lapsed(source: str) -> BitMap:
        return look.world.levels(source).lapsed

    return _below(look, asset, "lapsed", lapsed)


def newly_lapsed_above(look: Look, asset: str) -> BitMap:
    """The same of lapses in this moment; where the condition is evaluated for the first time, of all there are."""
    if not look.pulsing:
        return EMPTY

    def newly(source: str) -> BitMap:
        return look.moment.of(source).lapsed

    return lapsed_above(look, asset) if look.first else _below(look, asset, "newly", newly)


def refreshed_above(look: Look, source: str, asset: str) -> BitMap:
    """The live partitions below what is lapsed and in progress: all, below a whole asset of which anything is."""
    levels = look.world.levels(source)
    if not levels.lapsed or not (levels.in_progress or levels.asked):
        return EMPTY
    if 0 in levels.lapsed:
        return look.world.live(asset)

    def moving(name: str) -> BitMap:
        return look.world.levels(name).in_flight(levels.lapsed) if name == source else EMPTY

    return _reached(look.world, asset, moving, look.moment.lapses.setdefault(f"moving {source}", {}))


def _below(look: Look, asset: str, what: str, of: Callable[[str], BitMap]) -> BitMap:
    world, found = look.world, EMPTY
    lapses = [bits for source in world.topology.sources(asset) if (bits := of(source))]
    if any(0 in bits for bits in lapses):
        found = world.newest(asset)
    if any(bits != _WHOLE for bits in lapses):
        found = found | _reached(world, asset, of, look.moment.lapses.setdefault(what, {}))
    return found


def _reached(world: World, asset: str, of: Callable[[str], BitMap], known: dict[str, BitMap]) -> BitMap:
    """No recursion: graphs may be deeper than Python's stack. `known`: of what it has been found out."""
    topology, wanted, stack = world.topology, set[str](), [asset]
    while stack:
        name = stack.pop()
        if name not in known and name not in wanted:
            wanted.add(name)
            stack.extend(edge.asset for edge in topology.edges[name] if edge.asset not in topology.policies)
    for name in topology.ordered(wanted):
        found = EMPTY
        for edge in topology.edges[name]:
            above = of(edge.asset) - _WHOLE if edge.asset in topology.policies else known[edge.asset]
            if above := above & world.live(edge.asset):
                found = found | world.depending(edge, above, world.live(name))
        known[name] = found
    return known[asset]
