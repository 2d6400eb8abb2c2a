"""What all conditions share: operators, how they are read back, and the factories that plugins use."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Self

from freshet.definitions.condition import nodes
from freshet.definitions.condition.checks import Checks
from freshet.definitions.condition.composites import Composites
from freshet.definitions.condition.facts import Facts
from freshet.definitions.condition.given import given_condition
from freshet.definitions.condition.joins import Joins
from freshet.definitions.condition.moments import Moments
from freshet.definitions.condition.policies import Policies
from freshet.definitions.condition.refused import Refused
from freshet.definitions.condition.selection import Selection, selected
from freshet.definitions.condition.waits import Waits
from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect
from freshet.errors import DefinitionError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["AutomationCondition"]


class AutomationCondition(Policies, Moments, Composites, Joins, Waits, Facts, Checks, Refused):
    """The base of all nodes: operators, and the factories that plugins use.

    A condition is looked at for each partition of its asset, after every committed transaction that touches
    something it reads. Where it becomes true, the partition is requested; of `a | b`, an alternative that says `&
    ~in_progress()`, as all policies do, requests wherever it is true, whatever the other is. `newly_...` is true
    in the look at the transaction in which it happened and false right after it.

    No condition makes a second run beside one: where a run of the partition is queued, a request joins it; where
    one is running, it is remembered as one mark and gives one run after it.
    """

    label: str | None

    def __new__(cls, *_: object, **__: object) -> Self:
        """Raises `DefinitionError` for the base itself, which says nothing."""
        if cls is AutomationCondition:
            raise DefinitionError(
                "AutomationCondition() is no condition",
                hint="call one of its methods, such as AutomationCondition.eager()",
            )
        return super().__new__(cls)

    def __and__(self, other: AutomationCondition) -> AutomationCondition:
        return nodes.And((*_flat(nodes.And, self), *_flat(nodes.And, other)))

    def __or__(self, other: AutomationCondition) -> AutomationCondition:
        return nodes.Or((*_flat(nodes.Or, self), *_flat(nodes.Or, other)))

    def __invert__(self) -> AutomationCondition:
        return nodes.Not(self)

    def __bool__(self) -> NoReturn:
        """`and`, `or` and `not` would leave a part out without a word."""
        raise DefinitionError(
            "a condition is neither true nor false where it is declared",
            hint="write & instead of and, | instead of or, ~ instead of not",
        )

    def since(self, reset: AutomationCondition) -> AutomationCondition:
        """True from when this is true until `reset` is; where both are in one look, `reset` wins."""
        return nodes.Since(self, given_condition(reset, AutomationCondition, "since()"))

    def since_last_handled(self) -> AutomationCondition:
        """`since(newly_handled())`."""
        return nodes.Since(self, self.newly_handled())

    def newly_true(self) -> AutomationCondition:
        """True in the look in which this has become true. What is true at the first look has become so."""
        return nodes.NewlyTrue(self)

    def when_deps_ready(self, max_wait: Duration | None = "1m", *, after_lapsed: bool = False) -> AutomationCondition:
        """This, as soon as the upstreams do not hold it back; see `WhenDepsReady`."""
        seconds = None if max_wait is None else parse_duration(max_wait, what="max_wait")
        return nodes.WhenDepsReady(self, max_wait=seconds, after_lapsed=after_lapsed)

    def with_label(self, label: str) -> AutomationCondition:
        """The same condition under a name, shown where it is explained."""
        return replace(self, label=expect(label, (str,), "with_label()", 'write with_label("nightly")'))  # type: ignore[type-var]  # every node is a dataclass

    def replace(self, old: AutomationCondition | str, new: AutomationCondition) -> AutomationCondition:
        """The same with `new` wherever `old` stands, a condition or a label. Raises `DefinitionError` if it stands
        nowhere."""
        given_condition(new, AutomationCondition, "replace()")
        made = self._mapped(lambda one: new if _is(one, old) else None)
        if made is self:
            raise DefinitionError(f"replace({str(old)!r}): {self} has no such part", hint="print the condition")
        return made

    def without(self, condition: AutomationCondition | str) -> AutomationCondition:
        """The same without this part of an `&`, or of an `&` in it, given as a condition or a label. Raises
        `DefinitionError` if there is none."""

        def less(one: AutomationCondition) -> AutomationCondition | None:
            if not isinstance(one, nodes.And) or not any(_is(part, condition) for part in one.operands):
                return None
            rest = tuple(part for part in one.operands if not _is(part, condition))
            return rest[0] if len(rest) == 1 else replace(one, operands=rest)

        made = self._mapped(less)
        if made is self:
            raise DefinitionError(f"without({str(condition)!r}): {self} has no such part", hint="print the condition")
        return made

    def allow(self, *assets: object) -> AutomationCondition:
        """Look at these dependencies only, wherever this looks at dependencies: assets, their names, "group:NAME",
        "tag:NAME" or "tag:NAME=VALUE". Told again, at these too."""
        names = selected(assets, "allow")
        return self._selecting(lambda deps: deps.allowing(names), "allow")

    def ignore(self, *assets: object) -> AutomationCondition:
        """Leave these dependencies out, wherever this looks at dependencies; as in `allow`."""
        names = selected(assets, "ignore")
        return self._selecting(lambda deps: deps.ignoring(names), "ignore")

    def resolved(self, timezone: str) -> AutomationCondition:
        """The same with this zone wherever a cron text has none."""

        def zoned(one: AutomationCondition) -> AutomationCondition | None:
            if isinstance(one, nodes.CronTickPassed) and one.timezone is None:
                return replace(one, timezone=timezone)
            return None

        return self._mapped(zoned)

    def _selecting(self, change: Callable[[Selection], Selection], what: str) -> AutomationCondition:
        def selecting(one: AutomationCondition) -> AutomationCondition | None:
            if not isinstance(one, nodes.AnyDepsMatch | nodes.AllDepsMatch | nodes.WhenDepsReady):
                return None
            operand = one.operand._mapped(selecting) if isinstance(one, nodes.WhenDepsReady) else one.operand
            return replace(one, operand=operand, deps=change(one.deps))

        made = self._mapped(selecting)
        if made is self:
            raise DefinitionError(
                f"{what}(): {self} looks at no dependencies", hint="give it to a condition such as any_deps_match()"
            )
        return made

    def _mapped(self, change: Callable[[AutomationCondition], AutomationCondition | None]) -> AutomationCondition:
        """Each outermost part that `change` gives another for is that; the very same object if there is none."""
        other = change(self)
        if other is not None:
            return other
        kids = self.children()
        changed = tuple(kid._mapped(change) for kid in kids)
        return self if all(map(operator.is_, kids, changed)) else self.with_children(changed)

    def children(self) -> tuple[AutomationCondition, ...]:
        """The conditions this one is made of."""
        return ()

    def with_children(self, children: Iterable[AutomationCondition]) -> AutomationCondition:
        """The same made of these."""
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A field of this type is read as the union of all nodes, told apart by `kind`."""
        if cls is not AutomationCondition:
            return handler(source)
        from pydantic import Field  # not needed where plugins are loaded

        return handler.generate_schema(Annotated[nodes.AnyNode, Field(discriminator="kind")])


def _is(one: AutomationCondition, wanted: AutomationCondition | str) -> bool:
    return one.label == wanted if isinstance(wanted, str) else one == wanted


def _flat(kind: type[nodes.And] | type[nodes.Or], condition: AutomationCondition) -> Iterator[AutomationCondition]:
    given_condition(condition, AutomationCondition, "a condition's operator")
    if isinstance(condition, kind) and condition.label is None:
        yield from condition.operands
    else:
        yield condition
