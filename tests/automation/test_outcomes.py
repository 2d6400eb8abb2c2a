"""Looks whose outcome is known from others that agree in a few bits, against looks at each asset by itself."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.automation.build import BATCHES, EAGER, graph, node
from tests.definitions.conditions import operands, trees

from freshet.definitions.condition import AutomationCondition
from freshet.definitions.graph import Definitions
from freshet.engine.automation import Automation
from freshet.engine.automation.outcomes import Outcomes
from freshet.store.records import ConditionChunk, Event

_OWN = AutomationCondition
FACTS = st.sampled_from(
    [
        _OWN.missing(),
        _OWN.in_progress(),
        _OWN.execution_failed(),
        _OWN.newly_updated(),
        _OWN.newly_requested(),
        _OWN.newly_handled(),
        _OWN.will_be_requested(),
        _OWN.code_version_changed(),
        _OWN.data_version_changed(),
    ]
)


def _wider(inner: st.SearchStrategy[AutomationCondition]) -> st.SearchStrategy[AutomationCondition]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(lambda pair: pair[0] & pair[1]),
        pairs.map(lambda pair: pair[0] | pair[1]),
        inner.map(lambda one: ~one),
    )


BARE = st.recursive(FACTS, _wider, max_leaves=2)
ABOVE = st.one_of(BARE.map(_OWN.any_deps_match), BARE.map(_OWN.all_deps_match), BARE)


def _lasting(inner: st.SearchStrategy[AutomationCondition]) -> st.SearchStrategy[AutomationCondition]:
    return st.one_of(
        _wider(inner),
        st.tuples(inner, inner).map(lambda pair: pair[0].since(pair[1])),
        inner.map(lambda one: one.newly_true()),
        inner.map(lambda one: one.when_deps_ready("64s")),
        inner.map(lambda one: one.when_deps_ready(None)),
        inner.map(lambda one: one.since_last_handled().when_deps_ready("64s") & ~_OWN.in_progress()),
    )


CONDITIONS = st.one_of(
    st.sampled_from([EAGER, AutomationCondition.eager("10s"), AutomationCondition.on_missing()]),
    st.recursive(ABOVE, _lasting, max_leaves=3),
    trees(operands, max_leaves=4, max_wait="64s"),
)
KINDS = ("requested", "started", "materialized", "materialized", "failed", "released", "chain_stopped", "code_changed")


@dataclass(frozen=True)
class Happens:
    """`after`: seconds since the one before. Without an asset, the timer."""

    kind: str
    asset: str | None
    after: float
    idle: bool
    data: dict[str, Any] | None


@dataclass(frozen=True)
class Scene:
    definitions: Definitions
    happens: tuple[Happens, ...]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Several assets of one condition below a few, and what happens to them."""
    condition = draw(CONDITIONS)
    names = [f"n{number}" for number in range(draw(st.integers(5, 8)))]
    above, below = names[:3], names[3:]
    chosen = st.lists(st.sampled_from(above), max_size=2, unique=True)
    specs = [
        node(
            name,
            *draw(st.lists(st.sampled_from(above[:index]), max_size=1) if index else st.just([])),
            partitions=BATCHES if index == 0 and draw(st.integers(0, 9)) == 9 else None,
            automation=draw(st.sampled_from([None, None, condition, _OWN.newly_requested(), EAGER])),
            within=draw(st.sampled_from([None, None, None, None, 3600.0])),
        )
        for index, name in enumerate(above)
    ]
    specs += [node(name, *draw(chosen), automation=condition) for name in below]
    happens = st.builds(
        Happens,
        st.sampled_from(KINDS),
        st.sampled_from([None, *above, *names]),
        st.sampled_from([0.0, 0.25, 5.0, 70.0]),
        st.booleans(),
        st.sampled_from([None, None, {"same": True}]),
    )
    return Scene(graph(*specs), tuple(draw(st.lists(happens, min_size=10, max_size=50))))


def waits_again() -> Scene:
    """What waits for one that is under way waits no longer than `max_wait`, from when it began to wait."""
    above = (node("a"), node("b"))
    below = (node(f"below_{number}", "a", "b", automation=EAGER) for number in range(2))
    made = [Happens("materialized", name, 1.0, True, None) for name in "ab"]
    again = [Happens("started", "b", 1.0, False, None), Happens("materialized", "a", 1.0, True, None)]
    parts = [Happens("started", "b", 25.0, False, None), Happens("", None, 40.0, False, None)]
    ends = [Happens(kind, f"below_{n}", 1.0, kind != "started", None) for kind in KINDS[1:3] for n in range(2)]
    return Scene(graph(*above, *below), (*made, *ends, *again, *parts, *ends, made[1], *ends, *again, *parts))


@settings(max_examples=400, deadline=None)
@given(scenes())
@example(waits_again())
def test_it_comes_to_the_same_as_a_look_at_each(scene: Scene) -> None:
    with patch.object(Outcomes, "key", return_value=None):
        expected = _evaluations(scene)
    assert _evaluations(scene) == expected


def _evaluations(scene: Scene) -> list[tuple[object, ...]]:
    """Of each event: what is asked for, what is remembered then, when to look again, and the states after it."""
    automation, now, known = Automation(scene.definitions), 1000.0, dict[tuple[str, str, int], ConditionChunk]()
    automation.load({}, {}, [], [], 0)
    found: list[tuple[object, ...]] = []
    for seq, one in enumerate([Happens("", None, 0.0, False, None), *scene.happens], 1):
        now += one.after
        if one.asset is None:
            looked = automation.timer(now)
        else:
            event = Event(
                seq, seq, now, one.kind, asset=one.asset, partition=0, run_id=seq % 5, data=one.data, idle=one.idle
            )
            looked = automation.evaluate([event], now)
        known |= {(chunk.asset, chunk.node, chunk.chunk): chunk for chunk in looked.chunks}
        memory = sorted(chunk for chunk in known.values() if chunk.bits)
        states = [automation.in_flight(name) for name in scene.definitions.asset]
        found.append((looked.requests, memory, looked.wake_at, states))
    return found


def test_a_wave_through_many_looks_at_few_nodes() -> None:
    assets = [
        node(
            f"a{layer}_{number}",
            *(f"a{layer - 1}_{one % 10}" for one in (number, number + 1) if layer),
            automation=EAGER if layer else None,
        )
        for layer in range(50)
        for number in range(10)
    ]
    automation, seqs, visited = Automation(graph(*assets)), itertools.count(1), 0
    automation.load({}, {}, [], [], 0)
    automation.timer(1.0)
    made, asked = 0, [tuple(f"a0_{number}" for number in range(10))]
    while asked:
        wave = asked.pop(0)
        steps = itertools.product(wave, ("started", "materialized"))
        for name, kind in [*((name, "requested") for name in wave), *steps]:
            seq = next(seqs)
            event = Event(seq, seq, 2.0, kind, asset=name, partition=0, run_id=seq, idle=kind == "materialized")
            looked = automation.evaluate([event], 2.0)
            visited += looked.visited
            asked += [request.assets for request in looked.requests]
        made += len(wave)
    assert made == 500
    assert visited < 30 * made
