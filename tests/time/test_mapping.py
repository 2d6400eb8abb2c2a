"""The algebra of mappings: forward and inverse agree, and both with the words of the definition."""

from __future__ import annotations

import time
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap
from tests.time.brute import at
from tests.time.world import World

from freshet import (
    All,
    ByDimension,
    DefinitionError,
    DynamicPartitions,
    Identity,
    Last,
    MultiPartitions,
    Static,
    StaticPartitions,
    TimePartitions,
    TimeWindow,
)
from freshet.definitions.mapping import Mapping, default_mapping, gives_one, paired_dimensions
from freshet.definitions.partitions import PartitionsSpec
from freshet.engine.partitions.by_dimension import ByDimensions
from freshet.engine.partitions.combinations import Box
from freshet.engine.partitions.compile import link_between
from freshet.engine.partitions.links import Link
from freshet.engine.partitions.runs import dilated, runs_of

START, NOW = "2026-03-01", at(2026, 4, 20)


def in_time(cadence: str, zone: str = "Europe/Berlin") -> TimePartitions:
    return TimePartitions(cadence, START, timezone=zone)


DAILY, HOURLY, WEEKLY, MONTHLY = in_time("daily"), in_time("hourly"), in_time("weekly"), in_time("monthly")
ODD = in_time("30 2 * * MON,THU", "Australia/Lord_Howe")
TIMES = (DAILY, HOURLY, WEEKLY, MONTHLY, ODD, in_time("daily", "America/Havana"))
LANDS = StaticPartitions(["de", "fr", "us", "jp"], name="lands")
PARTS = StaticPartitions(["europe", "america", "nato"], name="parts")
SHOPS = DynamicPartitions("shops")
SALES = MultiPartitions(day=DAILY, land=LANDS)
SUMS = MultiPartitions(land=LANDS, day=WEEKLY, shop=SHOPS)
SHELVES = MultiPartitions(shop=SHOPS, land=LANDS, part=PARTS)
NATO = Static({"de": "europe", "fr": ["europe", "nato"], "us": ["america", "nato"]})
NOWHERE = Static({"de": "fr", "us": ["fr"]})


def world() -> World:
    """Some combinations of each set, others not."""
    made = World(NOW, {"shops": ["a", "b", "c"]})
    days, weeks = sorted(made.live(DAILY)), sorted(made.live(WEEKLY))
    places = [(day, land) for day, land in product(days[:20], range(1, 5)) if (day + land) % 3]
    for number, (day, land) in enumerate(places, 1):
        made.combinations(SALES).add(number, {"day": day, "land": land})
    sums = [place for place in product(range(1, 5), weeks[:4], range(1, 4)) if sum(place) % 4]
    for number, (land, week, shop) in enumerate(sums, 1):
        made.combinations(SUMS).add(number, {"land": land, "day": week, "shop": shop})
    for number, (shop, land, part) in enumerate(product(range(1, 4), range(1, 5), range(2, 4)), 1):
        made.combinations(SHELVES).add(number, {"shop": shop, "land": land, "part": part})
    return made


WORLD = world()
windows = st.tuples(st.integers(-9, 9), st.integers(0, 9)).map(lambda pair: TimeWindow(pair[0], sum(pair)))


@st.composite
def mapped(draw: st.DrawFn) -> tuple[Mapping, PartitionsSpec | None, PartitionsSpec | None]:
    """A mapping with two sets that it fits."""
    kind = draw(st.sampled_from(["default", "window", "all", "last", "static", "dimension"]))
    if kind == "window":
        return draw(windows), draw(st.sampled_from(TIMES)), draw(st.sampled_from(TIMES))
    if kind == "static":
        return NATO, LANDS, PARTS
    if kind == "dimension":
        inner = draw(windows)
        sets: list[tuple[PartitionsSpec, PartitionsSpec]] = [
            (SALES, SUMS),
            (SUMS, SALES),
            (SALES, HOURLY),
            (HOURLY, SALES),
            (MONTHLY, SUMS),
            (SUMS, MONTHLY),
        ]
        return ByDimension(day=inner), *draw(st.sampled_from(sets))
    either: list[PartitionsSpec] = [*TIMES, LANDS, PARTS, SHOPS, SALES, SUMS]
    below: PartitionsSpec | None = draw(st.one_of(st.none(), st.sampled_from(either)))
    above = draw(st.sampled_from(either))
    if kind == "default":
        return default_mapping(above, below), above, below
    return (All() if kind == "all" else Last()), above, below


def live(spec: PartitionsSpec | None) -> BitMap:
    return BitMap([0]) if spec is None else WORLD.live(spec)


def some(numbers: BitMap, draw: st.DrawFn) -> BitMap:
    if not numbers:
        return BitMap()
    chosen = draw(st.lists(st.integers(0, len(numbers) - 1), max_size=6))
    spread = draw(st.sampled_from([1, 1, 5]))
    return BitMap(numbers[index] for one in chosen for index in range(one, min(one + spread, len(numbers))))


@settings(max_examples=300, deadline=None)
@given(case=mapped(), data=st.data())
def test_forward_and_inverse_agree(
    case: tuple[Mapping, PartitionsSpec | None, PartitionsSpec | None], data: st.DataObject
) -> None:
    mapping, upstream, downstream = case
    link = link_between(mapping, upstream, downstream, WORLD)
    every_up, every_down = live(upstream), live(downstream)
    down, up = (
        data.draw(st.composite(lambda draw: some(every_down, draw))()),
        data.draw(st.composite(lambda draw: some(every_up, draw))()),
    )
    above, below = link.above(down) & every_up, link.below(up) & every_down
    assert above == BitMap.union(BitMap(), *(link.above(BitMap([one])) for one in down)) & every_up, "one by one"
    assert below == BitMap.union(BitMap(), *(link.below(BitMap([one])) for one in up)) & every_down
    assert all((not link.below(BitMap([one])).isdisjoint(down)) == (one in above) for one in up)
    assert all((not link.above(BitMap([one])).isdisjoint(up)) == (one in below) for one in down)


@settings(max_examples=200, deadline=None)
@given(
    upstream=st.sampled_from(TIMES),
    downstream=st.sampled_from(TIMES),
    reach=windows,
    index=st.integers(0, 2000),
)
def test_windows_share_a_moment(
    upstream: TimePartitions, downstream: TimePartitions, reach: TimeWindow, index: int
) -> None:
    numbers = WORLD.live(downstream)
    one = numbers[index % len(numbers)]
    mine = downstream.windows.window(one)
    near = range(upstream.windows.at(mine.start) - 40, upstream.windows.at(mine.end) + 40)
    windows_near = ((number, upstream.windows.window(number)) for number in near)
    shared = [number for number, window in windows_near if window.start < mine.end and mine.start < window.end]
    expected = BitMap(range(shared[0] + reach.start, shared[-1] + reach.end + 1))
    assert link_between(reach, upstream, downstream, WORLD).above(BitMap([one])) == expected


@settings(deadline=None)
@given(number=st.integers(1, 36))
def test_a_combination_depends_on_a_box(number: int) -> None:
    """Of two sets with several dimensions: on every combination of what each dimension depends on."""
    link = link_between(ByDimension(day=TimeWindow(-1, 0)), SALES, SUMS, WORLD)
    assert isinstance(link, ByDimensions)
    known, box = WORLD.combinations(SALES), link.box(number)
    place = WORLD.combinations(SUMS).coordinates(number)
    week = WEEKLY.windows.window(place["day"])
    first, last = DAILY.windows.over(week.start, week.end)
    assert box == Box({"day": BitMap(range(first - 1, last + 1)), "land": BitMap([place["land"]])})
    assert box.count == 8
    inside = [one for one in WORLD.live(SALES) if box.holds(known.coordinates(one))]
    assert link.above(BitMap([number])) == BitMap(inside) == known.inside(box)


@st.composite
def boxed(draw: st.DrawFn) -> tuple[ByDimension, MultiPartitions, PartitionsSpec]:
    """A mapping by dimension from a set of several; some of its dimensions may have no counterpart."""
    sides: list[tuple[MultiPartitions, PartitionsSpec, str]] = [
        (SALES, SUMS, "day"),
        (SUMS, SALES, "day"),
        (SUMS, MONTHLY, "day"),
        (SALES, HOURLY, "day"),
        (SUMS, LANDS, "land"),
        (SUMS, SHOPS, "shop"),
        (SHELVES, SALES, "land"),
        (SUMS, SHELVES, "shop"),
    ]
    upstream, downstream, dimension = draw(st.sampled_from(sides))
    by_day = [windows] if dimension == "day" else [st.just(Identity())]
    inner = draw(st.one_of(st.none(), st.just(All()), st.just(Last()), *by_day))
    return ByDimension(by=[] if inner is None else [(dimension, inner)]), upstream, downstream


@settings(max_examples=150, deadline=None)
@given(case=boxed(), index=st.integers(0, 999))
def test_a_box_holds_what_each_dimension_depends_on_and_all_of_free_ones(
    case: tuple[ByDimension, MultiPartitions, PartitionsSpec], index: int
) -> None:
    """Numbered or not: each combination of live keys is in the box exactly if each of its dimensions is depended on."""
    mapping, upstream, downstream = case
    link = link_between(mapping, upstream, downstream, WORLD)
    assert isinstance(link, ByDimensions)
    numbers = live(downstream)
    one = numbers[index % len(numbers)]
    place = (
        WORLD.combinations(downstream).coordinates(one)
        if isinstance(downstream, MultiPartitions)
        else dict.fromkeys(upstream.names, one)
    )
    pairs = {above: (below, inner) for above, below, inner in paired_dimensions(mapping, upstream, downstream)}
    expected: dict[str, BitMap] = {}
    for name in upstream.names:
        side = upstream.dimension(name)
        if name not in pairs:
            expected[name] = WORLD.live(side)
            continue
        below, inner = pairs[name]
        other = downstream.dimension(below) if below and isinstance(downstream, MultiPartitions) else downstream
        alone = link_between(inner, side, other, WORLD)
        expected[name] = BitMap(up for up in WORLD.live(side) if place[below or name] in alone.below(BitMap([up])))
    box = link.box(one)
    assert {name: side & WORLD.live(upstream.dimension(name)) for name, side in box.sides.items()} == expected
    known = WORLD.combinations(upstream)
    inside = BitMap(number for number in WORLD.live(upstream) if box.holds(known.coordinates(number)))
    assert link.above(BitMap([one])) & WORLD.live(upstream) == inside == known.inside(box) & WORLD.live(upstream)


def test_keys_that_a_static_mapping_leaves_out_are_not_named() -> None:
    near = Static({"de": "europe", "us": "america"})
    europe, america, nato = (WORLD.number(PARTS, key) or 0 for key in PARTS.keys)
    link = link_between(near, LANDS, PARTS, WORLD)
    assert link.named(WORLD.live(PARTS)) == BitMap([europe, america]) == WORLD.live(PARTS) - BitMap([nato])
    upstream = MultiPartitions(part=PARTS, day=DAILY)
    pairs = link_between(ByDimension(land=NOWHERE), SALES, SUMS, WORLD)
    some_of = WORLD.combinations(SUMS).within("land", BitMap([WORLD.number(LANDS, "fr") or 0]))
    assert pairs.named(WORLD.live(SUMS)) == some_of and some_of
    for mapping, above in ((TimeWindow(), DAILY), (All(), LANDS), (Last(), SHOPS), (All(), upstream)):
        assert link_between(mapping, above, WEEKLY, WORLD).named(WORLD.live(WEEKLY)) == WORLD.live(WEEKLY)


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 300)), max_size=12),
    st.integers(-50, 50),
    st.integers(0, 90),
)
def test_runs(pieces: list[tuple[int, int]], start: int, width: int) -> None:
    numbers = BitMap(one for first, length in pieces for one in range(first, first + length))
    runs = list(runs_of(numbers))
    assert BitMap(one for first, last in runs for one in range(first, last + 1)) == numbers
    assert all(last + 1 < following for (_, last), (following, _) in pairwise(runs))
    expected = BitMap(one + step for one in numbers for step in range(start, start + width + 1) if one + step > 0)
    assert dilated(numbers, start, start + width) == expected


def keys(link: Link, upstream: TimePartitions, downstream: TimePartitions, key: str) -> list[str]:
    return [upstream.key(one) for one in link.above(BitMap([downstream.number(key)]))]


def test_the_default_between_times_is_what_a_reader_expects() -> None:
    days = keys(link_between(default_mapping(DAILY, WEEKLY), DAILY, WEEKLY, WORLD), DAILY, WEEKLY, "2026-03-23")
    assert days == [f"2026-03-{day}" for day in range(23, 30)]
    hours = keys(link_between(default_mapping(HOURLY, DAILY), HOURLY, DAILY, WORLD), HOURLY, DAILY, "2026-03-29")
    assert len(hours) == 23 and hours[2] == "2026-03-29T03:00+02:00"
    finer = link_between(default_mapping(DAILY, HOURLY), DAILY, HOURLY, WORLD)
    assert keys(finer, DAILY, HOURLY, "2026-03-29T03:00+02:00") == ["2026-03-29"]
    last_week = link_between(TimeWindow(start=-6, end=0), DAILY, DAILY, WORLD)
    assert keys(last_week, DAILY, DAILY, "2026-03-07") == [f"2026-03-0{day}" for day in range(1, 8)]


@pytest.mark.parametrize(
    ("above", "below", "expected", "one"),
    [
        (DAILY, DAILY, Identity(), True),
        (DAILY, WEEKLY, TimeWindow(), False),
        (DAILY, HOURLY, TimeWindow(), True),
        (DAILY, in_time("daily", "UTC"), TimeWindow(), False),
        (SALES, DAILY, ByDimension(), False),
        (DAILY, SALES, ByDimension(), True),
        (DAILY, SUMS, ByDimension(), False),
        (WEEKLY, SALES, ByDimension(), True),
        (LANDS, SALES, ByDimension(), True),
        (SALES, SUMS, ByDimension(), False),
        (SHOPS, SALES, All(), False),
        (LANDS, SHOPS, All(), False),
        (SALES, None, All(), False),
        (None, SALES, Identity(), True),
        (SALES, SALES, Identity(), True),
    ],
)
def test_the_default(above: PartitionsSpec | None, below: PartitionsSpec | None, expected: Mapping, one: bool) -> None:
    assert default_mapping(above, below) == expected
    assert gives_one(expected, above, below) is one
    link_between(expected, above, below, WORLD)


@pytest.mark.parametrize(
    ("mapping", "above", "below", "says"),
    [
        (TimeWindow(), DAILY, LANDS, "use All() or Last()"),
        (Identity(), DAILY, WEEKLY, "use TimeWindow()"),
        (NATO, LANDS, DAILY, "use All() or Last()"),
        (NATO, LANDS, SHOPS, "write the keys down: StaticPartitions on both sides"),
        (NATO, DynamicPartitions("lands"), PARTS, "write the keys down"),
        (
            ByDimension(shop=NATO),
            MultiPartitions(shop=LANDS, day=DAILY),
            SUMS,
            "(shop): Static() needs StaticPartitions",
        ),
        (Static({"gb": "europe"}), LANDS, PARTS, "'gb'"),
        (Static({"de": "eurpe"}), LANDS, PARTS, "did you mean 'europe'?"),
        (ByDimension(), DAILY, WEEKLY, "MultiPartitions"),
        (ByDimension(), SHOPS, SALES, "name it: ByDimension('day')"),
        (ByDimension("lnad"), LANDS, SALES, "did you mean 'land'?"),
        (ByDimension("day"), SALES, SUMS, "between two"),
        (ByDimension("land"), SHOPS, SALES, ""),
        (ByDimension(shop=All()), SALES, SUMS, "'shop'"),
        (ByDimension(land=TimeWindow()), SALES, SUMS, "(land): TimeWindow()"),
        (ByDimension(land=All()), DAILY, SALES, "no counterpart"),
    ],
)
def test_mappings_that_do_not_fit(mapping: Mapping, above: PartitionsSpec, below: PartitionsSpec, says: str) -> None:
    if not says:
        link_between(mapping, above, below, WORLD)
        return
    with pytest.raises(DefinitionError) as caught:
        link_between(mapping, above, below, WORLD)
    assert says in str(caught.value) and caught.value.hint


@pytest.mark.parametrize("make", [lambda: TimeWindow(1, 0), lambda: TimeWindow("1"), lambda: Static({})])  # type: ignore[arg-type]
def test_mappings_that_cannot_be(make: object) -> None:
    with pytest.raises(DefinitionError):
        make()  # type: ignore[operator]  # pyright: ignore[reportCallIssue, reportUnknownVariableType]


def test_a_million_windows_cost_their_runs() -> None:
    hourly, daily = in_time("hourly", "UTC"), in_time("daily", "UTC")
    hours = BitMap(range(100_000, 1_100_000))
    began = time.process_time()
    days = link_between(TimeWindow(), hourly, daily, WORLD).below(hours)
    assert len(days) == 41_668 and time.process_time() - began < 2.0, "a window each would take a minute"
