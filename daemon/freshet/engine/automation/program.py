"""A condition made ready for evaluation: equal expressions are one node, and what can be known beforehand is."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from freshet.definitions.condition import (
    AllDepsMatch,
    And,
    AnyDepsMatch,
    AssetMatches,
    AutomationCondition,
    Batch,
    CronTickPassed,
    Debounce,
    InLatestTimeWindow,
    LapseUnserved,
    NewlyTrue,
    Not,
    Operand,
    Or,
    Recently,
    Selection,
    Since,
    WhenDepsReady,
)

__all__ = ["Node", "Program", "Reaction", "Span", "heeded", "programs_of", "within"]

Reaction = Literal["missing", "update"]
"""What of an automated asset follows what is made above it: only partitions that are missing, or any (`update`)."""
Span = Literal["moment", "lasting", "mixed"]
"""Never longer than a look; until something else happens; or the one for some partitions, the other for others."""

_PULSES = frozenset(
    {
        "newly_updated",
        "newly_requested",
        "newly_missing",
        "newly_handled",
        "will_be_requested",
        "initial_evaluation",
        "code_version_changed",
        "data_version_changed",
    }
)
_LOOKING = (AnyDepsMatch, AllDepsMatch, AssetMatches)
_UPDATES = (Operand("newly_updated"), Operand("data_version_changed"))
_INSTANTS = _PULSES - {"newly_missing", "initial_evaluation"}
_FRESHNESS = frozenset({"freshness_lapsed", "freshness_warned", "upstream_lapsed"})


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """`key` names the node's memory: it is made from the expression, so that an edit elsewhere in the condition
    keeps it. `depth`: how many dependencies up it looks. `shared`: part of several others. `instant`: remembers
    nothing, and is true only of an asset that something happened to in this look, or that was requested in it.
    `deps`: the dependencies that it looks at, None for all. `span`: for how long it is true. Of what counts how often
    its operand comes true, `triggers`: what makes it come true again."""

    index: int
    condition: AutomationCondition
    key: str
    kids: tuple[Node, ...]
    depth: int
    freshness: bool
    shared: bool
    instant: bool
    deps: Selection | None
    span: Span
    triggers: tuple[Node, ...] = ()


class Program:
    """One for all assets with an equal condition.

    `restless`: the end of a pulse (`newly_...` turning false) may make something true, so that a second look without
    pulses is due. `guarded`: true only where nothing is in progress, so that each truth is a request of its own.
    `kept`: the alternatives that are so by themselves; `rising`: the others, which request where they become true.
    `fading`: not so, and it may end to be true with the pulses, which is to be remembered. `brief`: nodes for which it
    does not matter, once a partition is requested, that what it could share a run with is asked for no longer. `calm`:
    true only where what it depends on is at rest, which is not remembered, so that it need not be looked at when
    something above begins to move. `reaction`: what of it follows what is made above; `follows`: of which dependencies,
    None for all, besides what it names. `crons`: the nodes that wait for instants. `latest`: it asks for the latest
    window; `starts`: or whether a run above was admitted or began. `digest`: names the condition, labels aside. `keys`:
    those of what is remembered of the asset itself.
    """

    def __init__(self, condition: AutomationCondition) -> None:
        self.nodes: list[Node] = []
        self._known: dict[AutomationCondition, Node] = {}
        self._uses = Counter(_uses(condition))
        self.root = self._add(condition)
        self.depth = self.root.depth
        self.freshness = any(node.freshness for node in self.nodes)
        self.restless = _restless(condition)
        self.guarded = _guarded(condition)
        ways = _alternatives(self.root)
        self.kept = tuple(node for node in ways if _guarded(node.condition))
        self.rising = tuple(node for node in ways if not _guarded(node.condition))
        self.fading = not self.guarded and _pulsing(condition)
        self.brief = frozenset(node.index for node in _brief(self.root)) if self.guarded else frozenset[int]()
        self.calm = self.guarded and all(
            node.index in self.brief for node in self.nodes if isinstance(node.condition, WhenDepsReady)
        )
        self.reaction: Reaction = "update" if any(map(_reacts, self.nodes)) else "missing"
        self.crons = tuple(node for node in self.nodes if isinstance(node.condition, CronTickPassed))
        self.latest = any(isinstance(node.condition, InLatestTimeWindow) for node in self.nodes)
        self.starts = _heeds_starts(condition)
        self.follows = _followed(self.nodes)
        self.digest = digest = _digest(_plain(condition))
        self.first_key = f"first-{digest}"
        self.root_key = f"root-{digest}"
        self.mark_key = f"mark-{digest}"
        own = {node.key for node in (*within(self.root), *self.crons)}
        self.keys = frozenset({self.first_key, self.root_key, self.mark_key, *own})

    @cached_property
    def text(self) -> str:
        """The condition as an expression."""
        return str(self.root.condition)

    def _add(self, condition: AutomationCondition) -> Node:
        plain = _plain(condition)
        node = self._known.get(plain)
        if node is None:
            kids = tuple(self._add(child) for child in condition.children())
            depth = max((kid.depth for kid in kids), default=0)
            if isinstance(condition, _LOOKING):
                depth += 1
            elif isinstance(condition, WhenDepsReady):
                depth = max(depth, 1)
            lapse = isinstance(condition, LapseUnserved) or (
                isinstance(condition, WhenDepsReady) and condition.after_lapsed
            )
            fresh = lapse or (isinstance(condition, Operand) and condition.kind in _FRESHNESS)
            key = f"{_kind(condition)}-{_digest(plain)}"
            shared, instant = self._uses[plain] > 1, _instant(condition)
            counted = condition.operand if isinstance(condition, (Debounce, Batch)) else None
            triggers = () if counted is None else tuple(map(self._add, _triggers(counted)))
            node = self._known[plain] = Node(
                *(
                    len(self.nodes),
                    condition,
                    key,
                    kids,
                    depth,
                    fresh,
                    shared,
                    instant,
                    _deps(condition),
                    _span(condition),
                ),
                triggers=triggers,
            )
            self.nodes.append(node)
        return node


def heeded(programs: Collection[Program]) -> tuple[int, bool, bool]:
    """Of all together: how many dependencies up they look, whether the latest window counts for any, and starts do."""
    depth = max((one.depth for one in programs), default=0)
    return depth, any(one.latest for one in programs), any(one.starts for one in programs)


def within(node: Node) -> set[Node]:
    """It and its parts, as far as they are about the same asset."""
    others = isinstance(node.condition, _LOOKING)
    return {node}.union(*(within(kid) for kid in node.kids if not others))


def _deps(condition: AutomationCondition) -> Selection | None:
    if isinstance(condition, (AnyDepsMatch, AllDepsMatch, WhenDepsReady)) and condition.deps != Selection():
        return condition.deps
    return None


def _followed(nodes: Sequence[Node]) -> tuple[Selection, ...] | None:
    looking = [node.deps for node in nodes if isinstance(node.condition, (AnyDepsMatch, AllDepsMatch))]
    chosen = tuple(dict.fromkeys(deps for deps in looking if deps is not None))
    by_name = any(isinstance(node.condition, AssetMatches) for node in nodes)
    return chosen if (looking or by_name) and None not in looking else None


def _uses(condition: AutomationCondition) -> Iterator[AutomationCondition]:
    yield _plain(condition)
    if isinstance(condition, (Debounce, Batch)):
        yield from map(_plain, _triggers(condition.operand))
    for child in condition.children():
        yield from _uses(child)


def _instant(condition: AutomationCondition) -> bool:
    if isinstance(condition, Operand):
        return condition.kind in _INSTANTS
    if isinstance(condition, And):
        return all(map(_bare, condition.operands)) and any(map(_instant, condition.operands))
    return isinstance(condition, Or) and all(map(_instant, condition.operands))


def _bare(condition: AutomationCondition) -> bool:
    """Facts and what is joined of them: nothing is remembered, and nothing above is looked at."""
    return isinstance(condition, (Operand, And, Or, Not)) and all(map(_bare, condition.children()))


def _heeds_starts(condition: AutomationCondition) -> bool:
    """Whether it can tell what is asked for above from what is queued or runs."""
    if isinstance(condition, _LOOKING):
        return not all(map(_blind_to_starts, condition.children()))
    return any(map(_heeds_starts, condition.children()))


def _blind_to_starts(condition: AutomationCondition) -> bool:
    """Anything that remembers may heed them."""
    if isinstance(condition, Operand):
        return condition.kind not in ("newly_requested", "newly_handled")
    return _bare(condition) and all(map(_blind_to_starts, condition.children()))


def _reacts(node: Node) -> bool:
    if not isinstance(node.condition, _LOOKING):
        return False
    return any(_plain(below.condition) in _UPDATES for below in _reached(node.kids))


def _brief(root: Node) -> set[Node]:
    """Those that are joined by `&` and `|` alone, and remember nothing beyond the start of a run."""
    top, below = _reached([root], through=(And, Or)), list[Node]()
    for node in top:
        if not isinstance(node.condition, (And, Or)):
            below.extend(node.kids)
    return {node for node in top - _reached(below) if _ends_when_handled(node.condition)}


def _ends_when_handled(condition: AutomationCondition) -> bool:
    if not isinstance(condition, WhenDepsReady) or condition.max_wait is None:
        return isinstance(condition, WhenDepsReady)
    operand = _plain(condition.operand)
    return isinstance(operand, Since) and operand.reset == Operand("newly_handled")


def _reached(start: Iterable[Node], through: tuple[type[AutomationCondition], ...] = ()) -> set[Node]:
    found, stack = set[Node](), list(start)
    while stack:
        node = stack.pop()
        found.add(node)
        if not through or isinstance(node.condition, through):
            stack.extend(node.kids)
    return found


def _kind(condition: AutomationCondition) -> str:
    kind = getattr(condition, "kind", "")
    return str(kind)


def _plain(condition: AutomationCondition) -> AutomationCondition:
    """Without labels, which mean nothing to evaluation."""
    kids = condition.children()
    plain = condition.with_children(map(_plain, kids)) if kids else condition
    return plain if plain.label is None else replace(plain, label=None)  # type: ignore[type-var]  # a dataclass


def _digest(condition: AutomationCondition) -> str:
    return hashlib.blake2b(repr(condition).encode(), digest_size=6).hexdigest()


def _pulsing(condition: AutomationCondition) -> bool:
    """Whether its value may change when the pulses end."""
    if isinstance(condition, Since):
        return _reopens(condition)
    if isinstance(condition, (NewlyTrue, CronTickPassed)):
        return True
    if isinstance(condition, Operand) and condition.kind in _PULSES:
        return True
    if isinstance(condition, Recently):
        return False
    return any(_pulsing(child) for child in condition.children())


def _reopens(condition: Since) -> bool:
    """Whether a trigger that lasts may win once the reset has passed."""
    return _pulsing(condition.reset) and not _pulse_bound(condition.trigger)


def _pulse_bound(condition: AutomationCondition) -> bool:
    """Whether it can be true only during a pulse."""
    if isinstance(condition, Operand):
        return condition.kind in _PULSES
    if isinstance(condition, CronTickPassed):
        return True
    if isinstance(condition, And):
        return any(_pulse_bound(child) for child in condition.operands)
    if isinstance(condition, Or):
        return all(_pulse_bound(child) for child in condition.operands)
    if isinstance(condition, (AnyDepsMatch, AssetMatches)):  # of all there may be none
        return _pulse_bound(condition.operand)
    return False


def _span(condition: AutomationCondition) -> Span:
    """All of a pulse above is one, except where there is nothing above."""
    match condition:
        case Operand():
            return "moment" if condition.kind in _PULSES else "lasting"
        case CronTickPassed() | NewlyTrue():
            return "moment"
        case And():
            return _joint(condition.operands, first="moment", rest="lasting")
        case Or():
            return _joint(condition.operands, first="lasting", rest="moment")
        case AllDepsMatch():
            return "lasting" if _span(condition.operand) == "lasting" else "mixed"
        case AnyDepsMatch() | AssetMatches() | WhenDepsReady() | Debounce() | Batch():
            return _span(condition.operand)
        case _:
            return "lasting"


def _joint(operands: Iterable[AutomationCondition], *, first: Span, rest: Span) -> Span:
    """`first` if any of them is, `rest` if all are."""
    spans = set(map(_span, operands))
    return first if first in spans else rest if spans <= {rest} else "mixed"


def _triggers(condition: AutomationCondition) -> Iterator[AutomationCondition]:
    """What a `since` in it waits for, where that happens in a moment: though it stays true, it comes true again."""
    if isinstance(condition, Since):
        span = _span(condition.trigger)
        if span != "lasting":
            yield condition.trigger
        if span != "moment":
            yield from _triggers(condition.trigger)
    elif isinstance(condition, (And, Or, WhenDepsReady)):
        for child in condition.children():
            yield from _triggers(child)


def _restless(condition: AutomationCondition) -> bool:
    if isinstance(condition, NewlyTrue) or (isinstance(condition, Not) and _pulsing(condition.operand)):
        return True
    if isinstance(condition, Since) and _reopens(condition):
        return True
    if isinstance(condition, WhenDepsReady) and condition.max_wait is not None and _pulsing(condition.operand):
        return True
    if isinstance(condition, (Recently, Debounce, Batch)) and _pulsing(condition.operand):
        return True
    return any(_restless(child) for child in condition.children())


def _alternatives(node: Node) -> list[Node]:
    """What it is the `|` of."""
    if not isinstance(node.condition, Or):
        return [node]
    return [one for kid in node.kids for one in _alternatives(kid)]


def _guarded(condition: AutomationCondition) -> bool:
    if isinstance(condition, And):
        return Not(Operand("in_progress")) in map(_plain, condition.operands) or any(
            _guarded(child) for child in condition.operands
        )
    return isinstance(condition, Or) and all(_guarded(child) for child in condition.operands)


def programs_of(
    conditions: Mapping[str, AutomationCondition], known: Mapping[AutomationCondition, Program]
) -> tuple[dict[str, Program], dict[AutomationCondition, Program]]:
    """The programs by asset, and by condition; those that are known already are the same."""
    programs, found = dict[str, Program](), dict[AutomationCondition, Program]()
    seen: dict[int, Program] = {}  # assets share conditions, whose equality takes a walk through a tree
    for asset, condition in conditions.items():
        program = seen.get(id(condition))
        if program is None:
            program = found.get(condition) or known.get(condition) or Program(condition)
            found[condition] = seen[id(condition)] = program
        programs[asset] = program
    return programs, found
