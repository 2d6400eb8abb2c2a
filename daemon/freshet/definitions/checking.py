"""What checks say of assets, held against those there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from freshet.definitions.asset import AssetSpec
from freshet.definitions.check import CheckSpec
from freshet.definitions.mapping import default_mapping
from freshet.definitions.mapping_check import misfit
from freshet.definitions.names import nearest_hint
from freshet.errors import DefinitionError, GraphError, InvalidName

__all__ = ["check_problems"]


def check_problems(checks: Sequence[CheckSpec], assets: Mapping[str, AssetSpec]) -> Iterator[DefinitionError]:
    """Checks of what is no asset, two of one name, and values that cannot be taken."""
    seen: dict[str, CheckSpec] = {}
    for spec in checks:
        first = seen.setdefault(spec.step, spec)
        if first is not spec:
            yield _at(InvalidName, spec, f"is declared twice; first at {first.source}", "rename one of them")
        elif spec.asset not in assets:
            yield _at(
                GraphError,
                spec,
                f"checks {spec.asset!r}, which no plugin declares as an asset",
                nearest_hint(spec.asset, assets),
            )
        else:
            yield from _wrong(spec, assets)


def _wrong(spec: CheckSpec, assets: Mapping[str, AssetSpec]) -> Iterator[DefinitionError]:
    if spec.whole and assets[spec.asset].partitions is None:
        yield _at(GraphError, spec, f"is whole=True, and {spec.asset!r} has no partitions", "leave whole out")
        return
    partitions = spec.as_step(assets[spec.asset].partitions).partitions
    for dep in spec.deps:
        above = assets.get(dep.asset)
        if above is None:
            hint = f"a check takes the asset's own value as {spec.asset!r}; {nearest_hint(dep.asset, assets)}"
            yield _at(GraphError, spec, f"takes {dep.asset!r}, which no plugin declares", hint)
        elif above.external:
            yield _at(
                GraphError,
                spec,
                f"takes the value of {dep.asset!r}, which is external: it has none",
                "take ctx alone, and look where the data is",
            )
        else:
            said, hint = misfit(
                dep.mapping or default_mapping(above.partitions, partitions), above.partitions, partitions
            )
            if said:
                yield _at(GraphError, spec, f"the parameter {dep.argument!r}: its mapping {said}", hint)


def _at(kind: type[DefinitionError], spec: CheckSpec, said: str, hint: str) -> DefinitionError:
    place = spec.source
    file, line = (place.file, place.line) if place else (None, None)
    return kind(f"check {spec.step}: {said}", hint=hint, file=file, line=line)
