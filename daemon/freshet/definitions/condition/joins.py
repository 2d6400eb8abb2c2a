"""Joins: conditions on assets that are named, and on several together."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from freshet.definitions.condition import nodes
from freshet.definitions.condition.given import given_condition
from freshet.definitions.durations import Duration, parse_duration
from freshet.errors import DefinitionError

if TYPE_CHECKING:
    from freshet.definitions.condition.base import AutomationCondition

__all__ = ["Joins"]


class Joins:
    """A part of `AutomationCondition`."""

    @classmethod
    def asset_matches(cls, asset: object, condition: AutomationCondition) -> AutomationCondition:
        """`condition` is true of at least one partition of that asset: an asset, or its name.

        It need not be a dependency. Of one that is, the partitions that its mapping names count, of any other those of
        the default mapping between the two sets; all of them where there is none, and the one value of an asset without
        partitions for each key.

        An asset is looked at after those it names, as after its dependencies: neither itself nor what lies below it can
        be named. It stands outside of `any_deps_match`, `all_deps_match` and another `asset_matches`.
        """
        return nodes.AssetMatches(_given(cls, condition, "asset_matches()"), asset=_name(asset, "asset_matches"))

    @classmethod
    def all_of(
        cls, *items: object, within: Duration | None = None, reset: AutomationCondition | None = None
    ) -> AutomationCondition:
        """Each of these was updated since this was last handled: assets, their names, or conditions that come true.

        ==================================================  =============================================
        what happens                                        what follows
        ==================================================  =============================================
        the last of them is updated                         true, until `reset` is
        one is updated again before                         it counts once; `within` counts from the last
        `within` has passed since one was updated, and      that one has to be updated again
        another is missing still
        `within` passes after all came together             nothing: it stays true
        one is updated while a run of this is queued        nothing: the run reads it when it starts
        one is updated while it runs                        it counts for the next time
        the run fails for good, is canceled or skipped      all have to be updated again
        ==================================================  =============================================

        `within`: how far apart they may lie at the most (to a 64th of it, never less); None: any time. `reset`:
        `newly_handled()` if None, the start of the next run. Of an asset with partitions, one that the mapping names is
        enough (see `asset_matches`). Not in Dagster.
        """
        own, parts = _factories(cls), _parts(cls, items, "all_of")
        until = own.newly_handled() if reset is None else _given(cls, reset, "all_of(reset=)")
        since = [part.since(until) for part in parts]
        if within is None:
            return nodes.And(tuple(since), label="all_of")
        parse_duration(within, what="all_of(within=)")
        lately = [one & part.recently(within) for one, part in zip(since, parts, strict=True)]
        return nodes.And(tuple(lately)).since(until).with_label("all_of")

    @classmethod
    def any_of(cls, *items: object, reset: AutomationCondition | None = None) -> AutomationCondition:
        """At least one of these was updated since this was last handled; as in `all_of`.

        ==================================================  =============================================
        what happens                                        what follows
        ==================================================  =============================================
        one of them is updated                              true, until `reset` is
        another one before `reset`                          nothing: the run reads both
        one is updated while it runs                        it counts for the next time
        the run fails for good, is canceled or skipped      false until the next update
        ==================================================  =============================================
        """
        own, parts = _factories(cls), _parts(cls, items, "any_of")
        until = own.newly_handled() if reset is None else _given(cls, reset, "any_of(reset=)")
        return nodes.Or(parts).since(until).with_label("any_of")


def _parts(cls: type[Joins], items: tuple[object, ...], what: str) -> tuple[AutomationCondition, ...]:
    own = _factories(cls)
    if not items:
        raise DefinitionError(f"{what}() names nothing", hint=f'write {what}("orders", "prices")')
    parts = [
        item if isinstance(item, own) else own.asset_matches(_name(item, what), own.newly_updated()) for item in items
    ]
    return tuple(dict.fromkeys(parts))


def _name(asset: object, what: str) -> str:
    name: object = getattr(getattr(asset, "spec", None), "name", asset)
    if not isinstance(name, str) or not name:
        raise DefinitionError(f"{what}({name!r}) names no asset", hint="give an asset or its name")
    return name


def _given(cls: type[Joins], condition: AutomationCondition, what: str) -> AutomationCondition:
    return given_condition(condition, _factories(cls), what)


def _factories(cls: type[Joins]) -> type[AutomationCondition]:
    return cast("type[AutomationCondition]", cls)
