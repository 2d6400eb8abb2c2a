"""First looks that take over what another one came to, against looks at each asset by itself."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap
from tests.automation.build import BATCHES, EAGER, graph, node
from tests.definitions.conditions import operands, trees

from freshet.definitions.condition import AutomationCondition
from freshet.definitions.graph import Definitions
from freshet.engine.automation import Automation, Evaluation
from freshet.engine.automation.alike import Alike
from freshet.store.records import AssetBits, Event, SetState

CONDITIONS = st.one_of(
    st.sampled_from([EAGER, AutomationCondition.on_missing(), AutomationCondition.on_lapse()]),
    trees(operands, max_leaves=4, max_wait="64s"),
)
SETS = {"batches": SetState("batches", "dynamic", BitMap([0, 1]))}
STATES = ("materialized", "failed", "in_progress")
KINDS = ("requested", "started", "materialized", "failed")


def bits_of(state: str) -> AssetBits:
    made, failed, flying = (BitMap([0] if one == state else []) for one in STATES)
    return AssetBits(made, failed, flying)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Definitions, dict[str, AssetBits], list[tuple[str, str]]]:
    """A graph of a few conditions over many assets, what has happened to some, and what happens next."""
    conditions = draw(st.lists(CONDITIONS, min_size=1, max_size=2)) * 3
    names = [f"n{number}" for number in range(draw(st.integers(4, 8)))]
    specs = [
        node(
            name,
            *draw(st.lists(st.sampled_from(names[:index]), max_size=2, unique=True) if index else st.just([])),
            partitions=BATCHES if index == 0 and draw(st.integers(0, 4)) == 4 else None,
            automation=draw(st.sampled_from([None, *conditions])),
            within=draw(st.sampled_from([None, None, None, 3600.0])),
        )
        for index, name in enumerate(names)
    ]
    eventful = draw(st.dictionaries(st.sampled_from(names), st.sampled_from(STATES), min_size=1, max_size=2))
    bits = {name: bits_of(state) for name, state in eventful.items()}
    happens = st.tuples(st.sampled_from(KINDS), st.sampled_from(names))
    return graph(*specs), bits, draw(st.lists(happens, max_size=4))


@settings(max_examples=300)
@given(scenes())
def test_it_comes_to_the_same_as_a_look_at_each(
    scene: tuple[Definitions, dict[str, AssetBits], list[tuple[str, str]]],
) -> None:
    definitions, bits, events = scene
    with patch.object(Alike, "kind", return_value=None):
        expected = _evaluations(definitions, bits, events)
    assert _evaluations(definitions, bits, events) == expected


def _evaluations(
    definitions: Definitions, bits: dict[str, AssetBits], events: list[tuple[str, str]]
) -> list[tuple[object, ...]]:
    """Of the first look, at the first event, and of those after it."""
    automation = Automation(definitions)
    automation.load(bits, SETS, [], [], 0)
    found: list[Evaluation] = []
    for seq, (kind, asset) in enumerate(events, 1):
        event = Event(seq, seq, float(seq), kind, asset=asset, partition=0, run_id=seq)
        found.append(automation.evaluate([event], float(seq)))
    found.append(automation.timer(1000.0))
    return [(one.requests, sorted(one.chunks), one.wake_at) for one in found]


def test_what_is_above_is_told_apart() -> None:
    pairs = (("a", "b"), ("b", "a"))
    for there, missing in pairs:
        below = [node(f"below_{name}", name, automation=EAGER) for name in "ab"]
        automation = Automation(graph(node("a"), node("b"), *below))
        automation.load({there: AssetBits(BitMap([0]), BitMap(), BitMap(), 1)}, {}, [], [], 0)
        assert [one.assets for one in automation.timer(0.0).requests] == [(f"below_{there}",)], f"{missing} is missing"


def test_many_of_a_kind_are_looked_at_once() -> None:
    assets = [node("root"), *(node(f"below_{number}", "root", automation=EAGER) for number in range(1000))]
    automation = Automation(graph(*assets))
    automation.load({}, {}, [], [], 0)
    first = automation.timer(0.0)
    assert len({chunk.asset for chunk in first.chunks}) == 1000
    assert len({(chunk.node, chunk.bits) for chunk in first.chunks}) == len(first.chunks) // 1000
    assert first.visited < 1100
