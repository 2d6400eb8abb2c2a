"""What conditions say of other assets, held against those there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freshet.definitions.asset import AssetSpec
from freshet.definitions.condition import (
    AllDepsMatch,
    AnyDepsMatch,
    AnyDownstreamConditions,
    AssetMatches,
    AutomationCondition,
    Selection,
)
from freshet.definitions.names import nearest_hint
from freshet.definitions.watched import named
from freshet.errors import GraphError

__all__ = ["condition_problems"]

_OUTSIDE = "write it outside, joined to the rest with & or |"
_SELFISH = "names the asset itself", "write what is asked of it without asset_matches"


def condition_problems(assets: Sequence[AssetSpec]) -> Iterator[GraphError]:
    """A name in `allow`, `ignore` or `asset_matches` that no asset has, an asset that names itself, and an
    `asset_matches` within what looks at other assets."""
    names = {spec.name for spec in assets}
    distinct = {id(spec.automation): spec.automation for spec in assets if spec.automation is not None}
    joins = any(any(True for _ in named(condition)) for condition in distinct.values())
    known: dict[int, tuple[tuple[tuple[str, str], ...], frozenset[str]]] = {}  # by identity: assets share conditions
    for spec in assets:
        if spec.automation is None:
            continue
        found = known.get(id(spec.automation))
        if found is None:
            wrong = tuple(dict.fromkeys(_problems(spec.automation, names, joins)))
            found = known[id(spec.automation)] = wrong, frozenset(named(spec.automation))
        problems, others = found
        for said, hint in (*problems, _SELFISH) if spec.name in others else problems:
            source = spec.source
            yield GraphError(
                f"asset {spec.name}: its condition {said}",
                hint=hint,
                file=source.file if source else None,
                line=source.line if source else None,
            )


def _problems(
    condition: AutomationCondition, names: set[str], joins: bool, within: str = ""
) -> Iterator[tuple[str, str]]:
    """`joins`: conditions below, which may stand here in place of `any_downstream_conditions`, name assets."""
    deps = getattr(condition, "deps", None)
    if isinstance(deps, Selection):
        for name in deps.names:
            if name not in names:
                yield f"allows or ignores {name!r}, which is no asset", nearest_hint(name, names)
    if isinstance(condition, AssetMatches):
        if condition.asset not in names:
            yield f"looks at {condition.asset!r}, which is no asset", nearest_hint(condition.asset, names)
        if within:
            yield f"has asset_matches({condition.asset!r}, ...) within {within}", _OUTSIDE
    if isinstance(condition, AnyDownstreamConditions) and within and joins:
        yield f"has any_downstream_conditions within {within}", _OUTSIDE
    if isinstance(condition, AnyDepsMatch | AllDepsMatch | AssetMatches):
        within = condition.kind
    for child in condition.children():
        yield from _problems(child, names, joins, within)
