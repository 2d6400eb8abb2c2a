"""The nodes of conditions: frozen data that compares, prints as an expression and decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from freshet.definitions.condition.base import AutomationCondition
from freshet.definitions.condition.selection import Selection
from freshet.definitions.durations import format_duration

__all__ = [
    "AllDepsMatch",
    "And",
    "AnyDepsMatch",
    "AnyDownstreamConditions",
    "AnyNode",
    "AssetMatches",
    "Batch",
    "CheckIs",
    "ChecksMatch",
    "CronTickPassed",
    "Debounce",
    "ExecutedWithTags",
    "InLatestTimeWindow",
    "LapseUnserved",
    "NewlyTrue",
    "Not",
    "Operand",
    "OperandKind",
    "Or",
    "Recently",
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
    "freshness_passed",
    "freshness_lapsed",
    "freshness_warned",
    "upstream_lapsed",
    "initial_evaluation",
    "code_version_changed",
    "data_version_changed",
]


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

    def with_children(self, children: Iterable[AutomationCondition]) -> AutomationCondition:
        return replace(self, operands=tuple(children))


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

    def with_children(self, children: Iterable[AutomationCondition]) -> AutomationCondition:
        (operand,) = children
        return replace(self, operand=operand)


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

    deps: Selection = field(default_factory=Selection)
    kind: Literal["any_deps_match"] = "any_deps_match"

    def __str__(self) -> str:
        return f"any_deps_match({self.operand}){self.deps}"


@dataclass(frozen=True)
class AllDepsMatch(_Single):
    """True of some partition of every dependency."""

    deps: Selection = field(default_factory=Selection)
    kind: Literal["all_deps_match"] = "all_deps_match"

    def __str__(self) -> str:
        return f"all_deps_match({self.operand}){self.deps}"


@dataclass(frozen=True)
class AssetMatches(_Single):
    """True of some partition of the asset that is named."""

    asset: str = ""
    kind: Literal["asset_matches"] = "asset_matches"

    def __str__(self) -> str:
        return f"asset_matches({self.asset!r}, {self.operand})"


@dataclass(frozen=True)
class Since(AutomationCondition):
    """`trigger` was true after `reset` was last."""

    trigger: AutomationCondition
    reset: AutomationCondition
    label: str | None = None
    kind: Literal["since"] = "since"

    def children(self) -> tuple[AutomationCondition, ...]:
        return (self.trigger, self.reset)

    def with_children(self, children: Iterable[AutomationCondition]) -> AutomationCondition:
        trigger, reset = children
        return replace(self, trigger=trigger, reset=reset)

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
    materialized, an update of it on its way    soft               soft
    missing, and queued or running              hard               soft
    missing, and on its way                     hard               soft
    missing, failed for good or below that      hard               ready (it is left out)
    missing, never tried, nothing on its way    hard               hard
    held by its blocking checks                 as if missing      as if it had failed
    none at all, or none of them materialized   hard               hard
    ==========================================  =================  ====================================

    On its way is what is automated and lies, along dependencies, below something queued or running, as far as each on
    the way there is missing or has a condition that reacts to updates (`any_deps_match` or `all_deps_match` of
    `newly_updated`): so updates pass through a graph as one wave, and the tip of a diamond waits for its longer arm.

    What counts is what is live: a window that is not there yet holds hard where the mapping names it alone, and is
    left out where it names others too. A key for which a `Static` names nothing has no such dependency, and nothing
    holds it. A run can be shared during the look that asks for it alone; a partition that has not joined it is held by
    what is queued from then on.

    A mapping of several partitions is also paced: after a run that began less than twice `max_wait` ago, it
    waits softly until none that it depends on has arrived for max_wait/64, doubling with each such run up to
    max_wait/4. A single arrival is answered at once; a stream of them costs some runs each `max_wait`.

    `max_wait` None: soft holds have no end, and nothing is paced.
    `after_lapsed`: an asset above it whose policy has lapsed and that is queued or running holds softly too;
    arrivals do not pace it. `deps`: the upstreams that can hold it back.
    """

    max_wait: float | None = 60.0
    after_lapsed: bool = False
    deps: Selection = field(default_factory=Selection)
    kind: Literal["when_deps_ready"] = "when_deps_ready"

    def __str__(self) -> str:
        after = ", after_lapsed" if self.after_lapsed else ""
        wait = "None" if self.max_wait is None else format_duration(self.max_wait)
        return f"{self.operand}.when_deps_ready({wait}{after}){self.deps}"


@dataclass(frozen=True)
class Recently(_Single):
    """The operand is true, or was less than `within` seconds ago."""

    within: float = 60.0
    kind: Literal["recently"] = "recently"

    def __str__(self) -> str:
        return f"{self.operand}.recently({format_duration(self.within)})"


@dataclass(frozen=True)
class Debounce(_Single):
    """The operand has not come true for `quiet` seconds, or waits for `max_wait` seconds; None: without end."""

    quiet: float = 60.0
    max_wait: float | None = None
    kind: Literal["debounce"] = "debounce"

    def __str__(self) -> str:
        at_most = "" if self.max_wait is None else f", {format_duration(self.max_wait)}"
        return f"{self.operand}.debounce({format_duration(self.quiet)}{at_most})"


@dataclass(frozen=True)
class Batch(_Single):
    """The operand came true `count` times, or `within` seconds have passed since the first; None: neither counts."""

    count: int | None = None
    within: float | None = None
    kind: Literal["batch"] = "batch"

    def __str__(self) -> str:
        within = "" if self.within is None else f", {format_duration(self.within)}"
        return f"{self.operand}.batch({self.count}{within})"


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


@dataclass(frozen=True)
class CronTickPassed(AutomationCondition):
    """An instant of a cron text has passed. `timezone` None: the configuration's, until definitions are in force."""

    cron: str
    timezone: str | None = None
    label: str | None = None
    kind: Literal["cron_tick_passed"] = "cron_tick_passed"

    def __str__(self) -> str:
        zone = "" if self.timezone is None else f", {self.timezone!r}"
        return f"cron_tick_passed({self.cron!r}{zone})"


@dataclass(frozen=True)
class ExecutedWithTags(AutomationCondition):
    """The run that made it last has these tags: all `keys`, with any value, and all `values`."""

    keys: tuple[str, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    label: str | None = None
    kind: Literal["executed_with_tags"] = "executed_with_tags"

    def has(self, tags: Mapping[str, str]) -> bool:
        """Whether a run's tags are such."""
        return all(key in tags for key in self.keys) and all(tags.get(key) == value for key, value in self.values)

    def __str__(self) -> str:
        told = [*map(repr, self.keys), *(f"{key!r}: {value!r}" for key, value in self.values)]
        return f"executed_with_tags({', '.join(told)})"


@dataclass(frozen=True)
class InLatestTimeWindow(AutomationCondition):
    """The latest window, and those that ended less than `lookback` seconds before its end."""

    lookback: float | None = None
    label: str | None = None
    kind: Literal["in_latest_time_window"] = "in_latest_time_window"

    def __str__(self) -> str:
        return f"in_latest_time_window({'' if self.lookback is None else format_duration(self.lookback)})"


@dataclass(frozen=True)
class AnyDownstreamConditions(AutomationCondition):
    """At least one of the conditions of the assets next below is true, each as if it were this asset's own."""

    label: str | None = None
    kind: Literal["any_downstream_conditions"] = "any_downstream_conditions"

    def __str__(self) -> str:
        return "any_downstream_conditions"


@dataclass(frozen=True)
class CheckIs(AutomationCondition):
    """What a check found of the partition; `name` None: all checks (`check_passed`) or any (`check_failed`)."""

    kind: Literal["check_passed", "check_failed"]
    name: str | None = None
    label: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}({'' if self.name is None else repr(self.name)})"


@dataclass(frozen=True)
class ChecksMatch(AutomationCondition):
    """True of any, or of every, check. The operand is no part to be looked at by itself: it is about one check."""

    kind: Literal["any_checks_match", "all_checks_match"]
    operand: AutomationCondition
    blocking_only: bool = False
    label: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}({self.operand}{', blocking_only=True' if self.blocking_only else ''})"


AnyNode = (
    Operand
    | And
    | Or
    | Not
    | Since
    | NewlyTrue
    | AnyDepsMatch
    | AllDepsMatch
    | WhenDepsReady
    | LapseUnserved
    | CronTickPassed
    | InLatestTimeWindow
    | AnyDownstreamConditions
    | AssetMatches
    | Recently
    | Debounce
    | Batch
    | ExecutedWithTags
    | CheckIs
    | ChecksMatch
)
"""All nodes, told apart by `kind`."""
