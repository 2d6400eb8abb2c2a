"""Random small graphs over partition sets of every kind, with mappings that fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st
from tests.definitions.conditions import joined, operands, trees

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.check import CheckSpec
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions, validate
from freshet.definitions.mapping import All, ByDimension, DimensionMapping, Identity, Last, Mapping, Static, TimeWindow
from freshet.definitions.mapping_check import misfit
from freshet.definitions.partitions import (
    DynamicPartitions,
    MultiPartitions,
    PartitionsSpec,
    StaticPartitions,
    TimePartitions,
)

__all__ = ["SETS", "allowed", "conditions", "graphs", "mappings", "sketch"]

C = AutomationCondition
MAX_WAIT = "64s"  # its 64th part is exact in binary, so that both sides round alike
ON_LAPSE = C.on_lapse(2, delay=MAX_WAIT, max_wait=MAX_WAIT)
UNSERVED = C.lapse_unserved(2, MAX_WAIT)
CRON, RARE = "*/2 * * * *", "*/5 * * * *"
POLICIES = (
    C.eager(MAX_WAIT),
    C.eager(MAX_WAIT),
    C.on_missing(),
    ON_LAPSE,
    C.eager(MAX_WAIT) | ON_LAPSE,
    C.missing() | ON_LAPSE,
    C.on_cron(CRON, "UTC"),
    C.on_cron(RARE, "UTC").without(C.in_latest_time_window()),
    C.eager(MAX_WAIT).ignore("n0"),
    C.eager(MAX_WAIT).allow("n0", "n1"),
    C.any_downstream_conditions() & ~C.in_progress(),
    C.eager(MAX_WAIT).debounce("32s", max_wait=MAX_WAIT),
    C.any_deps_updated().since_last_handled().batch(2, within=MAX_WAIT) & ~C.in_progress(),
    C.all_deps_match(C.newly_updated()).since(C.newly_requested()).batch(3, within=MAX_WAIT) & ~C.in_progress(),
)
LAPSES = (
    ON_LAPSE,
    ON_LAPSE,
    C.eager(MAX_WAIT) | ON_LAPSE,
    C.freshness_warned() | ON_LAPSE,
    C.eager(MAX_WAIT),
    UNSERVED & ~C.in_progress(),
    C.any_deps_match(UNSERVED),
    C.upstream_lapsed(),
    ~C.upstream_lapsed(),
    C.any_deps_match(C.upstream_lapsed()),
)
TIMES = st.sampled_from(
    [
        C.cron_tick_passed(CRON, "UTC"),
        C.cron_tick_passed(RARE, "UTC"),
        C.in_latest_time_window(),
        C.in_latest_time_window("12h"),
        C.executed_with_tags(["odd"]),
        C.executed_with_tags(["odd"], {"team": "1"}),
        C.any_downstream_conditions(),
    ]
)
PASSED, FAILED = C.check_passed(), C.check_failed()
VERDICTS = st.sampled_from(
    [
        PASSED,
        FAILED,
        C.check_passed("c0"),
        C.check_failed("c1"),
        C.check_failed("dbt:c"),
        C.any_checks_match(~PASSED & ~FAILED),
        C.all_checks_match(PASSED | FAILED),
        C.all_checks_match(PASSED, blocking_only=True),
        C.all_deps_blocking_checks_passed(),
        C.eager(MAX_WAIT) & C.all_deps_blocking_checks_passed(),
        C.any_deps_match(FAILED).newly_true() & ~C.in_progress(),
    ]
)
expressions = trees(st.one_of(operands, operands, TIMES, VERDICTS, st.just(UNSERVED)), max_leaves=6, max_wait=MAX_WAIT)
conditions: st.SearchStrategy[AutomationCondition | None] = st.one_of(
    st.none(), st.sampled_from(POLICIES), st.sampled_from(POLICIES), expressions
)
SHORT = (C.newly_updated(), C.newly_updated(), C.in_progress(), C.missing(), C.any_deps_updated(), C.eager(MAX_WAIT))
lapsing: st.SearchStrategy[AutomationCondition | None] = st.one_of(st.sampled_from(LAPSES), conditions)


CHECKS: tuple[dict[str, bool], ...] = ({}, {}, {"c0": True}, {"c0": False}, {"c0": True, "c1": False})
"""Whether they are blocking, by name."""


def in_time(cadence: str, start: str, name: str) -> TimePartitions:
    return TimePartitions(cadence, start, timezone="Europe/Berlin", name=name)


A, B = DynamicPartitions("a"), DynamicPartitions("b")
LETTERS = StaticPartitions(["x", "y"], name="letters")
LANDS = StaticPartitions(["p", "q", "r"], name="lands")
# The clock goes ahead in the night to the 29th.
DAYS = in_time("daily", "2026-03-28", "days")
LATER = in_time("daily", "2026-03-29", "later")
THIRDS = in_time("0 0,8,16 * * *", "2026-03-28T08:00", "thirds")
HOURS = in_time("hourly", "2026-03-28T22:00", "hours")
GRID = MultiPartitions(name="grid", day=DAYS, batch=A)
CUBE = MultiPartitions(name="cube", batch=A, land=LETTERS, day=HOURS)
PLAN = MultiPartitions(name="plan", land=LANDS, day=LATER, batch=A)
TWICE = MultiPartitions(name="twice", one=A, other=A)
SETS: tuple[PartitionsSpec, ...] = (A, B, LETTERS, LANDS, DAYS, LATER, THIRDS, HOURS, GRID, CUBE, PLAN, TWICE)
FAMILIES: tuple[tuple[PartitionsSpec | None, ...], ...] = (
    (None, A, B, LETTERS),
    (None, LETTERS, LANDS, A),
    (None, DAYS, LATER, THIRDS),
    (DAYS, HOURS, THIRDS),
    (GRID, DAYS, A),
    (GRID, CUBE, PLAN),
    (None, CUBE, HOURS, LETTERS),
    (PLAN, GRID, LANDS, LATER),
    (None, A, TWICE, GRID),
    (None, *SETS),
)


@st.composite
def statics(draw: st.DrawFn, upstream: Sequence[str], downstream: Sequence[str]) -> Static:
    """Some keys on either side stay unnamed."""
    below = st.lists(st.sampled_from(downstream), unique=True, max_size=2)
    return Static({key: draw(below) for key in upstream if draw(st.booleans())} or {upstream[0]: downstream[0]})


windows = st.tuples(st.integers(-2, 1), st.integers(0, 2)).map(lambda pair: TimeWindow(pair[0], sum(pair)))


@st.composite
def mappings(draw: st.DrawFn, upstream: PartitionsSpec | None, downstream: PartitionsSpec | None) -> Mapping | None:
    """One that fits; None is the default."""
    options: list[Mapping | None] = [None, Identity(), draw(windows), draw(_by_dimension(upstream, downstream))]
    if isinstance(upstream, StaticPartitions) and isinstance(downstream, StaticPartitions):
        options.append(draw(statics(upstream.keys, downstream.keys)))
    fitting = [one for one in options if one is None or not misfit(one, upstream, downstream)[0]]
    rougher = [one for one in (All(), Last()) if not misfit(one, upstream, downstream)[0]]
    return draw(st.one_of(st.sampled_from(fitting), st.sampled_from(fitting), st.sampled_from([*fitting, *rougher])))


@st.composite
def _by_dimension(draw: st.DrawFn, upstream: PartitionsSpec | None, downstream: PartitionsSpec | None) -> ByDimension:
    """It may fit."""
    several = [one for one in (upstream, downstream) if isinstance(one, MultiPartitions)]
    names = several[0].names if several else ("day",)
    inner: dict[str, DimensionMapping] = {}
    for name in names:
        if draw(st.booleans()):
            sides = [
                one.dimension(name) if isinstance(one, MultiPartitions) and name in one.names else one
                for one in (upstream, downstream)
            ]
            options: list[DimensionMapping] = [All(), Last(), Identity(), draw(windows)]
            if isinstance(sides[0], StaticPartitions) and isinstance(sides[1], StaticPartitions):
                options.append(draw(statics(sides[0].keys, sides[1].keys)))
            inner[name] = draw(st.sampled_from([one for one in options if not misfit(one, *sides)[0]] or [All()]))
    dimension = draw(st.sampled_from(["", *names])) if len(several) == 1 else ""
    return ByDimension(dimension, inner.items())


@st.composite
def graphs(draw: st.DrawFn) -> Definitions:
    """Perhaps with policies at the top alone, and conditions far below that look up to them."""
    sets, deep = draw(st.sampled_from(FAMILIES)), draw(st.sampled_from([False, False, True]))
    assets: list[AssetSpec] = []
    count = draw(st.integers(2, 6))
    for index in range(count):
        partitions = draw(st.sampled_from(sets))
        deps = [
            DepSpec(above.name, None, draw(mappings(above.partitions, partitions)))
            for above in assets
            if draw(st.sampled_from([True, True, False]) if not deep else st.just(above is assets[-1]))
        ]
        each = partitions is not None and draw(st.booleans())
        policy = FreshnessSpec(3600.0, per_partition=each) if (not deps if deep else draw(st.booleans())) else None
        by_hand = not deps and index + 1 < count and draw(st.sampled_from([True, True, False]))
        condition = None if by_hand else draw(lapsing if deep else conditions)
        if assets and not by_hand and draw(st.sampled_from([False, False, True])):
            names = [above.name for above in assets]
            condition = draw(joined(st.one_of(operands, st.sampled_from(SHORT), expressions), names, max_wait=MAX_WAIT))
            condition = condition & ~C.in_progress() if draw(st.booleans()) else condition
        assets.append(AssetSpec(f"n{index}", tuple(deps), partitions, freshness=policy, automation=condition))
    kept = tuple(one for one in sets if one is not None)
    checks = tuple(
        CheckSpec(name, spec.name, blocking=blocking)
        for spec in assets
        for name, blocking in draw(st.sampled_from(CHECKS)).items()
    )
    return allowed(Definitions(assets=tuple(assets), partitions=kept, checks=checks))


def allowed(definitions: Definitions) -> Definitions:
    """The same without the conditions that validation refuses here: they name what there is not, or what lies below."""
    while validate(definitions):
        fewer = (_without(definitions, spec) for spec in definitions.assets if spec.automation is not None)
        definitions = min(fewer, key=lambda one: len(validate(one)))
    return definitions


def _without(definitions: Definitions, spec: AssetSpec) -> Definitions:
    others = (replace(one, automation=None) if one is spec else one for one in definitions.assets)
    return replace(definitions, assets=tuple(others))


def sketch(definitions: Definitions) -> str:
    """The graph on a few lines, for a failure's report."""
    return "\n".join(
        f"{spec.name} of {spec.partitions and spec.partitions.name} below "
        f"{[(dep.asset, definitions.mapping(spec, dep)) for dep in spec.deps]}, "
        f"policy {spec.freshness and ('each' if spec.freshness.per_partition else 'whole')}, "
        f"{len(definitions.checks_of.get(spec.name, ()))} checks, "
        f"{'' if spec.name in definitions.gates else 'not '}blocking: {spec.automation}"
        for spec in definitions.assets
    )
