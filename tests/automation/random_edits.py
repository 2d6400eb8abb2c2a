"""Random edits of graphs: of conditions and of what assets depend on; assets that go and come again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from hypothesis import strategies as st
from tests.automation.random_graphs import allowed, conditions, mappings

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.graph import Definitions

__all__ = ["edits"]


@st.composite
def edits(draw: st.DrawFn, now: Definitions, first: Definitions, busy: Collection[str]) -> Definitions:
    """`now` with one thing otherwise; what is gone comes again as it was in `first`. `busy`: what runs stays."""
    kinds = ["condition", "condition", "deps", "deps", "mapping"]
    gone = [spec for spec in first.assets if spec.name not in now.asset]
    idle = [spec for spec in now.assets if spec.name not in busy]
    kinds += ["remove"] * (len(idle) > 0 and len(now.assets) > 1) + ["restore", "restore"] * bool(gone)
    kind = draw(st.sampled_from(kinds))
    if kind == "remove":
        away = draw(st.sampled_from(idle))
        return _of(now, first, [spec for spec in now.assets if spec is not away])
    if kind == "restore":
        return _of(now, first, [*now.assets, draw(st.sampled_from(gone))])
    spec = draw(st.sampled_from(now.assets))
    if kind == "condition":
        other = replace(spec, automation=draw(_edited(spec.automation)))
    else:
        other = replace(spec, deps=draw(_rewired(now, spec, anew=kind == "mapping")))
    return _of(now, first, [other if one is spec else one for one in now.assets])


@st.composite
def _edited(draw: st.DrawFn, condition: AutomationCondition | None) -> AutomationCondition | None:
    """Another one, or one that has parts of it."""
    other = draw(conditions)
    if condition is None or other is None:
        return other
    ways = [other, condition | other, condition & other, ~condition, condition.with_label("edited")]
    return draw(st.sampled_from([*ways, *condition.children()[:2]]))


@st.composite
def _rewired(draw: st.DrawFn, now: Definitions, spec: AssetSpec, *, anew: bool) -> tuple[DepSpec, ...]:
    """One dependency more or less, or `anew` mapped."""
    above = [one for one in now.assets if one.name < spec.name]
    if not above:
        return spec.deps
    chosen = draw(st.sampled_from(above))
    kept = [dep for dep in spec.deps if dep.asset != chosen.name]
    if len(kept) == len(spec.deps) or anew:
        kept.append(DepSpec(chosen.name, None, draw(mappings(chosen.partitions, spec.partitions))))
    return tuple(sorted(kept, key=lambda dep: dep.asset))


def _of(now: Definitions, first: Definitions, assets: list[AssetSpec]) -> Definitions:
    names = {spec.name for spec in assets}
    specs = [
        replace(spec, deps=tuple(dep for dep in spec.deps if dep.asset in names))
        for spec in sorted(assets, key=lambda spec: spec.name)
    ]
    checks = tuple(check for check in first.checks if check.asset in names)
    return allowed(replace(now, assets=tuple(specs), checks=checks))
