"""Which other assets a condition names: it is looked at after them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from freshet.definitions.asset import AssetSpec
from freshet.definitions.condition import AnyDownstreamConditions, AssetMatches, AutomationCondition

__all__ = ["named", "watched"]


def watched(assets: Sequence[AssetSpec], order: Callable[[], Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """By asset, those that its condition names with `asset_matches`; where it has `any_downstream_conditions`, also
    those that the conditions below it name. Assets that name none are left out. `order`: names after their upstreams,
    asked for only if need be."""
    kinds: dict[int, tuple[tuple[str, ...], bool]] = {}  # by identity: assets share conditions
    own, lifting = dict[str, tuple[str, ...]](), set[str]()
    for spec in assets:
        if spec.automation is None:
            continue
        kind = kinds.get(id(spec.automation))
        if kind is None:
            kind = kinds[id(spec.automation)] = (tuple(dict.fromkeys(named(spec.automation))), _lifts(spec.automation))
        if kind[0]:
            own[spec.name] = kind[0]
        if kind[1]:
            lifting.add(spec.name)
    return _lifted(assets, own, lifting, order()) if own and lifting else own


def named(condition: AutomationCondition) -> Iterator[str]:
    """The names in `asset_matches`, wherever it stands."""
    if isinstance(condition, AssetMatches):
        yield condition.asset
    for child in condition.children():
        yield from named(child)


def _lifts(condition: AutomationCondition) -> bool:
    return isinstance(condition, AnyDownstreamConditions) or any(map(_lifts, condition.children()))


def _lifted(
    assets: Sequence[AssetSpec], own: dict[str, tuple[str, ...]], lifting: set[str], order: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    below: dict[str, list[str]] = {}
    for spec in assets:
        for dep in spec.deps:
            below.setdefault(dep.asset, []).append(spec.name)
    found = dict(own)
    for name in reversed(tuple(order)):
        if name in lifting:
            more = (one for child in below.get(name, ()) for one in found.get(child, ()))
            if all_ := tuple(dict.fromkeys((*own.get(name, ()), *more))):
                found[name] = all_
    return found
