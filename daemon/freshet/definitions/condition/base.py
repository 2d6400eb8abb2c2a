"""What all conditions share: operators, how they are read back, and the factories that plugins use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from freshet.definitions.condition import nodes
from freshet.definitions.condition.composites import Composites
from freshet.definitions.condition.facts import Facts
from freshet.definitions.condition.policies import Policies
from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["AutomationCondition"]


class AutomationCondition(Policies, Composites, Facts):
    """The base of all nodes: operators, and the factories that plugins use.

    A condition is looked at for each partition of its asset, after every committed transaction that touches
    something it reads. Where it becomes true, the partition is requested. `newly_...` is true in the look at the
    transaction in which it happened and false right after it.

    No condition makes a second run beside one: where a run of the partition is queued, a request joins it; where
    one is running, it is remembered as one mark and gives one run after it.
    """

    label: str | None

    def __and__(self, other: AutomationCondition) -> AutomationCondition:
        return nodes.And((*_flat(nodes.And, self), *_flat(nodes.And, other)))

    def __or__(self, other: AutomationCondition) -> AutomationCondition:
        return nodes.Or((*_flat(nodes.Or, self), *_flat(nodes.Or, other)))

    def __invert__(self) -> AutomationCondition:
        return nodes.Not(self)

    def since(self, reset: AutomationCondition) -> AutomationCondition:
        """True from when this is true until `reset` is; where both are in one look, `reset` wins."""
        return nodes.Since(self, expect(reset, (AutomationCondition,), "since()"))

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
        return replace(self, label=label)  # type: ignore[type-var]  # every node is a dataclass

    def children(self) -> tuple[AutomationCondition, ...]:
        """The conditions this one is made of."""
        return ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A field of this type is read as the union of all nodes, told apart by `kind`."""
        if cls is not AutomationCondition:
            return handler(source)
        from pydantic import Field  # not needed where plugins are loaded

        return handler.generate_schema(Annotated[nodes.AnyNode, Field(discriminator="kind")])


def _flat(kind: type[nodes.And] | type[nodes.Or], condition: AutomationCondition) -> Iterator[AutomationCondition]:
    expect(condition, (AutomationCondition,), "a condition's operator")
    if isinstance(condition, kind) and condition.label is None:
        yield from condition.operands
    else:
        yield condition
