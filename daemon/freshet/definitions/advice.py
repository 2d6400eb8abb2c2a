"""What `freshet check` warns of: definitions that are allowed, and do not do what they seem to."""

from __future__ import annotations

from collections.abc import Iterator

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.condition import AutomationCondition, LapseUnserved
from freshet.definitions.graph import Definitions
from freshet.definitions.mapping import gives_one
from freshet.errors import DefinitionError

__all__ = ["advice"]


def advice(definitions: Definitions) -> Iterator[DefinitionError]:
    """One for each asset that waits for a lapse where no promise can lapse, and for each parameter that is annotated as
    one value where its mapping gives several. `definitions` are valid, and resolved: their zones are known."""
    waiting: dict[int, bool] = {}  # by identity: assets share conditions
    for spec in definitions.assets:
        for dep in spec.deps:
            if dep.single is not None and (found := _several(definitions, spec, dep)) is not None:
                yield found
        if spec.automation is None:
            continue
        waits = waiting.get(id(spec.automation))
        if waits is None:
            waits = waiting[id(spec.automation)] = _waits_for_lapse(spec.automation)
        if not waits:
            continue
        if not any(definitions.asset[name].freshness for name in definitions.select([spec.name], upstream=True)):
            yield DefinitionError(
                f"asset {spec.name!r}: on_lapse() never comes: neither it nor an asset above it has a freshness policy",
                hint='give one of them freshness=Freshness(within="1h")',
                file=spec.source.file if spec.source else None,
                line=spec.source.line if spec.source else None,
            )


def _several(definitions: Definitions, spec: AssetSpec, dep: DepSpec) -> DefinitionError | None:
    mapping, above = definitions.mapping(spec, dep), definitions.asset[dep.asset].partitions
    if gives_one(mapping, above, spec.partitions):
        return None
    gives = "" if dep.mapping is None else f" by {type(mapping).__name__}()"
    return DefinitionError(
        f"asset {spec.name!r}: the parameter {dep.argument!r} is annotated as {dep.single}, and it is given the values "
        f"of several partitions of {dep.asset!r}{gives}, in a dict by key",
        hint=f"write {dep.argument}: dict[str, {dep.single}], or name a mapping that gives one, such as Last()",
        file=spec.source.file if spec.source else None,
        line=spec.source.line if spec.source else None,
    )


def _waits_for_lapse(condition: AutomationCondition) -> bool:
    return isinstance(condition, LapseUnserved) or any(_waits_for_lapse(one) for one in condition.children())
