"""What conditions say of other assets, held against those there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freshet.definitions.asset import AssetSpec
from freshet.definitions.condition import AutomationCondition, Selection
from freshet.definitions.names import nearest_hint
from freshet.errors import GraphError

__all__ = ["condition_problems"]


def condition_problems(assets: Sequence[AssetSpec]) -> Iterator[GraphError]:
    """A name in `allow` or `ignore` that no asset has."""
    names = {spec.name for spec in assets}
    unknown: dict[int, tuple[str, ...]] = {}
    for spec in assets:
        if spec.automation is None:
            continue
        found = unknown.get(id(spec.automation))
        if found is None:
            found = unknown[id(spec.automation)] = tuple(
                name for name in dict.fromkeys(_named(spec.automation)) if name not in names
            )
        for name in found:
            source = spec.source
            yield GraphError(
                f"asset {spec.name}: its condition allows or ignores {name!r}, which is no asset",
                hint=nearest_hint(name, names),
                file=source.file if source else None,
                line=source.line if source else None,
            )


def _named(condition: AutomationCondition) -> Iterator[str]:
    deps = getattr(condition, "deps", None)
    if isinstance(deps, Selection):
        yield from deps.names
    for child in condition.children():
        yield from _named(child)
