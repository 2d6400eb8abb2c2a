"""Automation conditions as data: expressions that say when an asset is to be materialized.

Names and meanings are those of Dagster's `AutomationCondition`; a docstring says where one differs, and why.
A condition is a tree of frozen nodes. It compares, prints as an expression, serializes (orjson writes it, a
pydantic `TypeAdapter` reads it back by `kind`) and decides nothing itself: `engine.automation` evaluates it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from freshet.definitions.durations import Duration, format_duration, parse_duration
from freshet.definitions.expect import expect
from freshet.definitions.policies import Policies
from freshet.errors import DefinitionError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = [
    "AllDepsMatch",
    "And",
    "AnyDepsMatch",
    "AutomationCondition",
    "LapseUnserved",
    "NewlyTrue",
    "Not",
    "Operand",
    "OperandKind",
    "Or",
    "Since",
    "WhenDepsReady",
]

OperandKind = Literal[
    "missing",
    "in_progress",
    "execution_failed",
    "newly_updated",
    "newly_requested",
    "newly_missing",
    "newly_handled",
    "will_be_requested",
    "freshness_lapsed",
    "freshness_warned",
    "upstream_lapsed",
    "initial_evaluation",
]


class AutomationCondition(Policies):
    """The base of all nodes: operators, and the factories that plugins use.

    A condition is looked at for each partition of its asset, after every committed transaction that touches
    something it reads. Where it becomes true, the partition is requested. `newly_...` is true in the look at the
    transaction in which it happened and false right after it.

    No condition makes a second run beside one: where a run of the partition is queued, a request joins it; where
    one is running, it is remembered as one mark and gives one run after it.
    """

    label: str | None

    def __and__(self, other: AutomationCondition) -> AutomationCondition:
        return And((*_flat(And, self), *_flat(And, other)))

    def __or__(self, other: AutomationCondition) -> AutomationCondition:
        return Or((*_flat(Or, self), *_flat(Or, other)))

    def __invert__(self) -> AutomationCondition:
        return Not(self)

    def since(self, reset: AutomationCondition) -> AutomationCondition:
        """True from when this is true until `reset` is; where both are in one look, `reset` wins."""
        return Since(self, expect(reset, (AutomationCondition,), "since()"))

    def since_last_handled(self) -> AutomationCondition:
        """`since(newly_handled())`."""
        return Since(self, self.newly_handled())

    def newly_true(self) -> AutomationCondition:
        """True in the look in which this has become true. What is true at the first look has become so."""
        return NewlyTrue(self)

    def when_deps_ready(self, max_wait: Duration | None = "1m", *, after_lapsed: bool = False) -> AutomationCondition:
        """This, as soon as the upstreams do not hold it back; see `WhenDepsReady`."""
        seconds = None if max_wait is None else parse_duration(max_wait, what="max_wait")
        return WhenDepsReady(self, max_wait=seconds, after_lapsed=after_lapsed)

    def with_label(self, label: str) -> AutomationCondition:
        """The same condition under a name, shown where it is explained."""
        return replace(self, label=label)  # type: ignore[type-var]  # every node is a dataclass

    def children(self) -> tuple[AutomationCondition, ...]:
        """The conditions this one is made of."""
        return ()

    @staticmethod
    def missing() -> AutomationCondition:
        """Never materialized."""
        return Operand("missing")

    @staticmethod
    def in_progress() -> AutomationCondition:
        """Queued or running, whoever asked for it; also between the decision to ask and its commit."""
        return Operand("in_progress")

    @staticmethod
    def execution_failed() -> AutomationCondition:
        """The last run that ended failed for good: no attempts were left."""
        return Operand("execution_failed")

    @staticmethod
    def newly_updated() -> AutomationCondition:
        """Materialized in this transaction, by a run or by a report from outside."""
        return Operand("newly_updated")

    @staticmethod
    def newly_requested() -> AutomationCondition:
        """A run of it was admitted in this transaction. Unlike Dagster's: whoever asked for it."""
        return Operand("newly_requested")

    @staticmethod
    def newly_missing() -> AutomationCondition:
        """Added in this transaction, or missing when this condition is evaluated for the first time."""
        return Operand("newly_missing")

    @staticmethod
    def newly_handled() -> AutomationCondition:
        """Its step began in this transaction (and read its inputs in it), or it was reported from outside, or its
        queued run was canceled or skipped.

        Not in Dagster, whose conditions count as handled when they are requested. What arrives between request
        and start is read by that run and needs no other.
        """
        return Operand("newly_handled")

    @staticmethod
    def will_be_requested() -> AutomationCondition:
        """Of a dependency: requested in this same look, for the same partition, so that one run can hold both."""
        return Operand("will_be_requested")

    @staticmethod
    def freshness_lapsed() -> AutomationCondition:
        """Its freshness policy has lapsed. For a partitioned asset true of its newest partition alone: the policy
        is about the latest activity, and making all partitions again would not make it more recent."""
        return Operand("freshness_lapsed")

    @staticmethod
    def freshness_warned() -> AutomationCondition:
        """Its freshness policy warns and has not lapsed; partitions as in `freshness_lapsed`."""
        return Operand("freshness_warned")

    @staticmethod
    def upstream_lapsed() -> AutomationCondition:
        """A policy above it has lapsed: of any asset at any distance, looking past assets without a policy and
        stopping at the first that has one. Partitions as in `freshness_lapsed`."""
        return Operand("upstream_lapsed")

    @staticmethod
    def initial_evaluation() -> AutomationCondition:
        """This condition is evaluated for the first time for its asset (also after an edit of the condition)."""
        return Operand("initial_evaluation")

    @staticmethod
    def any_deps_match(condition: AutomationCondition) -> AutomationCondition:
        """`condition` is true of at least one partition, that the mapping names, of at least one dependency."""
        return AnyDepsMatch(condition)

    @staticmethod
    def all_deps_match(condition: AutomationCondition) -> AutomationCondition:
        """`condition` is true of at least one partition, that the mapping names, of each dependency; a key for which
        a `Static` names nothing does not have that dependency."""
        return AllDepsMatch(condition)

    @staticmethod
    def any_deps_missing() -> AutomationCondition:
        """A partition of a dependency is missing and not about to be made in the same run."""
        own = AutomationCondition
        return own.any_deps_match(own.missing() & ~own.will_be_requested()).with_label("any_deps_missing")

    @staticmethod
    def any_deps_updated() -> AutomationCondition:
        """A partition of a dependency was materialized in this transaction."""
        return AutomationCondition.any_deps_match(Operand("newly_updated")).with_label("any_deps_updated")

    @staticmethod
    def lapse_unserved(attempts: int = 3, delay: Duration = "30s") -> AutomationCondition:
        """A lapse that no run has answered, with attempts left; see `LapseUnserved`."""
        if attempts < 1:
            raise DefinitionError(f"on_lapse(attempts={attempts}) allows no run", hint="give at least 1")
        return LapseUnserved(attempts, parse_duration(delay, what="on_lapse(delay=)"))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A field of this type is read as the union of all nodes, told apart by `kind`."""
        if cls is not AutomationCondition:
            return handler(source)
        from pydantic import Field  # not needed where plugins are loaded

        union = Union[Operand, And, Or, Not, Since, NewlyTrue, AnyDepsMatch, AllDepsMatch, WhenDepsReady, LapseUnserved]  # noqa: UP007  # an expression, not an annotation
        return handler.generate_schema(Annotated[union, Field(discriminator="kind")])


@dataclass(frozen=True)
class Operand(AutomationCondition):
    """A fact about a partition; the factory of the same name says which."""

    kind: OperandKind
    label: str | None = None

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class _Several(AutomationCondition):
    operands: tuple[AutomationCondition, ...]
    label: str | None = None

    def children(self) -> tuple[AutomationCondition, ...]:
        return self.operands


@dataclass(frozen=True)
class And(_Several):
    """All are true."""

    kind: Literal["and"] = "and"

    def __str__(self) -> str:
        return "(" + " & ".join(map(str, self.operands)) + ")"


@dataclass(frozen=True)
class Or(_Several):
    """At least one is true."""

    kind: Literal["or"] = "or"

    def __str__(self) -> str:
        return "(" + " | ".join(map(str, self.operands)) + ")"


@dataclass(frozen=True)
class _Single(AutomationCondition):
    operand: AutomationCondition
    label: str | None = None

    def children(self) -> tuple[AutomationCondition, ...]:
        return (self.operand,)


@dataclass(frozen=True)
class Not(_Single):
    """It is false."""

    kind: Literal["not"] = "not"

    def __str__(self) -> str:
        return f"~{self.operand}"


@dataclass(frozen=True)
class NewlyTrue(_Single):
    """It was false at the look before."""

    kind: Literal["newly_true"] = "newly_true"

    def __str__(self) -> str:
        return f"{self.operand}.newly_true()"


@dataclass(frozen=True)
class AnyDepsMatch(_Single):
    """True of some partition of some dependency."""

    kind: Literal["any_deps_match"] = "any_deps_match"

    def __str__(self) -> str:
        return f"any_deps_match({self.operand})"


@dataclass(frozen=True)
class AllDepsMatch(_Single):
    """True of some partition of every dependency."""

    kind: Literal["all_deps_match"] = "all_deps_match"

    def __str__(self) -> str:
        return f"all_deps_match({self.operand})"


@dataclass(frozen=True)
class Since(AutomationCondition):
    """`trigger` was true after `reset` was last."""

    trigger: AutomationCondition
    reset: AutomationCondition
    label: str | None = None
    kind: Literal["since"] = "since"

    def children(self) -> tuple[AutomationCondition, ...]:
        return (self.trigger, self.reset)

    def __str__(self) -> str:
        return f"{self.trigger}.since({self.reset})"


@dataclass(frozen=True)
class WhenDepsReady(_Single):
    """The operand is true and the upstreams do not hold it back. `max_wait`: seconds.

    Hard holds last until something changes; soft ones end, at the latest, `max_wait` after they alone first
    held back what the operand asks for.

    ==========================================  =================  ====================================
    the upstream partition is                   mapping of one     mapping of several
    ==========================================  =================  ====================================
    materialized, also if a later run failed    ready              ready
    requested in this look, sharing the run     ready              (cannot share it)
    materialized, and queued or running again   soft               soft
    missing, and queued or running              hard               soft
    missing, an automated ancestor on its way   hard               soft
    missing, failed for good or below that      hard               ready (it is left out)
    missing, never tried, nothing on its way    hard               hard
    none at all, or none of them materialized   hard               hard
    ==========================================  =================  ====================================

    What counts is what is live: a window that is not there yet holds hard where the mapping names it alone, and is
    left out where it names others too. A key for which a `Static` names nothing has no such dependency, and nothing
    holds it. A run can be shared during the look that asks for it alone; a partition that has not joined it is held by
    what is queued from then on.

    A mapping of several partitions is also paced: after a run that began less than twice `max_wait` ago, it
    waits softly until none that it depends on has arrived for max_wait/64, doubling with each such run up to
    max_wait/4. A single arrival is answered at once; a stream of them costs some runs each `max_wait`.

    `max_wait` None: soft holds have no end, and nothing is paced.
    `after_lapsed`: an asset above it whose policy has lapsed and that is queued or running holds softly too;
    arrivals do not pace it.
    """

    max_wait: float | None = 60.0
    after_lapsed: bool = False
    kind: Literal["when_deps_ready"] = "when_deps_ready"

    def __str__(self) -> str:
        after = ", after_lapsed" if self.after_lapsed else ""
        wait = "None" if self.max_wait is None else format_duration(self.max_wait)
        return f"{self.operand}.when_deps_ready({wait}{after})"


@dataclass(frozen=True)
class LapseUnserved(AutomationCondition):
    """A lapse, its own or above it, that no run has answered yet. `attempts`: runs that may fail for good in one
    episode; `delay`: seconds before the second of them, doubling for each further one."""

    attempts: int = 3
    delay: float = 30.0
    label: str | None = None
    kind: Literal["lapse_unserved"] = "lapse_unserved"

    def __str__(self) -> str:
        return f"lapse_unserved({self.attempts}, {format_duration(self.delay)})"


def _flat(kind: type[And] | type[Or], condition: AutomationCondition) -> Iterator[AutomationCondition]:
    expect(condition, (AutomationCondition,), "a condition's operator")
    if isinstance(condition, kind) and condition.label is None:
        yield from condition.operands
    else:
        yield condition
