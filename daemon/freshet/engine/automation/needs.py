"""What would have to come about for a condition to become true, in words."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from freshet.engine.automation.explain import Explanation, Standing

__all__ = ["needs"]

_ENOUGH = 6
_TRUE = {
    "missing": "{} is missing",
    "in_progress": "a run of {} is queued or running",
    "execution_failed": "{} fails for good",
    "newly_updated": "{} is materialized",
    "newly_requested": "{} is asked for",
    "newly_missing": "a partition of {} is added",
    "newly_handled": "a run of {} begins",
    "will_be_requested": "{} is asked for at the same time",
    "freshness_passed": "{} is fresh again",
    "freshness_lapsed": "{} lapses",
    "freshness_warned": "the freshness of {} warns",
    "upstream_lapsed": "an asset above {} lapses",
    "lapse_unserved": "{}, or an asset above it, lapses",
    "code_version_changed": "the code of {} changes",
    "data_version_changed": "{} is materialized with other data",
    "check_passed": "a check of {} passes",
    "check_failed": "a check of {} fails",
    "any_checks_match": "a check of {} finds something else",
    "all_checks_match": "the checks of {} find something else",
    "debounce": "no more comes of {} for a while, or its time is up",
    "batch": "more comes of {}, or its time is up",
}
_FALSE = {
    "missing": "{} is materialized",
    "in_progress": "no run of {} is queued or running",
    "execution_failed": "{} succeeds",
    "freshness_passed": "the freshness of {} warns or lapses",
    "freshness_lapsed": "{} is fresh again",
    "freshness_warned": "{} is fresh again",
    "upstream_lapsed": "what is above {} is fresh again",
    "check_failed": "the checks of {} pass",
    "any_checks_match": "the checks of {} find something else",
    "all_checks_match": "a check of {} finds something else",
}
_SPENT = "{} is made by hand, or an asset above it lapses: its attempts are used up"
_AGAIN = "it is time for the next attempt at {}"
_WEAK = frozenset({"newly_missing", "will_be_requested", "initial_evaluation"})
"""Said only where nothing else would do."""

_Phrase = tuple[str, bool]
_All = tuple[_Phrase, ...]


def needs(tree: Explanation, standings: Iterable[Standing] = ()) -> tuple[str, ...]:
    """Alternatives, each of which would make the condition true as all else stands; none if it is true. A few.

    `standings`: of what it depends on."""
    if tree.value:
        return ()
    holding = [one.asset for one in standings if one.holds is not None]
    ways = [way for way in _ways(tree, True, holding) if way]
    strong = [way for way in ways if not any(weak for _, weak in way)] or ways
    said = dict.fromkeys(" and ".join(dict.fromkeys(text for text, _ in way)) for way in strong)
    return tuple(said)[:_ENOUGH]


def _ways(node: Explanation, wanted: bool, holding: list[str]) -> list[_All]:
    """Ways to that value; one that is empty where it has it."""
    if node.value == wanted:
        return [()]
    kids = node.children
    match node.kind:
        case "not":
            return _ways(kids[0], not wanted, holding)
        case "and" | "all_deps_match" | "asset_matches":
            return (_together if wanted else _either)(_ways(kid, wanted, holding) for kid in kids)
        case "or" | "any_deps_match":
            return (_either if wanted else _together)(_ways(kid, wanted, holding) for kid in kids)
        case "since":
            turns = kids[0] if wanted else kids[1]
            return _leaf(node, wanted) if turns.value else _ways(turns, True, holding)
        case "when_deps_ready" if wanted and not kids[0].value:
            return _ways(kids[0], True, holding)
        case "when_deps_ready":
            return [((_no_hold(holding), False),)]
        case "newly_true" | "debounce" | "batch" | "recently" if wanted and not kids[0].value:
            return _ways(kids[0], True, holding)
        case _:
            return _leaf(node, wanted)


def _no_hold(holding: list[str]) -> str:
    if not holding:
        return "no more arrives of what it depends on, or its time is up"
    return f"{', '.join(holding)} {'holds' if len(holding) == 1 else 'hold'} it back no longer"


def _leaf(node: Explanation, wanted: bool) -> list[_All]:
    said = (_TRUE if wanted else _FALSE).get(node.kind)
    if wanted and node.kind == "cron_tick_passed":
        said = f"the next instant of {node.expression.partition('(')[2].removesuffix(')')} comes"
    elif wanted and node.attempts is not None:
        failed, most = node.attempts
        said = _SPENT if failed >= most else _AGAIN
    text = f"{'' if wanted else 'not '}{node.expression} of {{}}" if said is None else said
    return [((text.format(node.asset), node.kind in _WEAK),)]


def _either(ways: Iterable[list[_All]]) -> list[_All]:
    return [way for some in ways for way in some if way][: _ENOUGH * 4]


def _together(ways: Iterable[list[_All]]) -> list[_All]:
    found: list[_All] = [()]
    for some in ways:
        found = [(*one, *other) for one, other in product(found, some)][: _ENOUGH * 4]
    return found
