"""Sets whose partitions are computed: windows that open, combinations that follow their dimensions."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.support import VALUE, one_step, open_database, rows

from freshet.definitions.asset import AssetSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import DynamicPartitions, MultiPartitions, StaticPartitions, TimePartitions
from freshet.errors import UnknownName
from freshet.store.admission import admit
from freshet.store.assets import asset_bits
from freshet.store.combinations import settle_strand, strands
from freshet.store.definitions import register_definitions
from freshet.store.events import EventLog
from freshet.store.finishing import finish_step
from freshet.store.inputs import partition_keys, read_inputs
from freshet.store.interning import intern, number_places, open_sets
from freshet.store.partitions import change_partitions
from freshet.store.queries import partition_rows
from freshet.store.records import Event, PartitionDelta, PartitionRef, StepResult
from freshet.store.sets import read_sets

DAY = 86_400.0
TODAY = 1_790_000_000.0  # 2026-09-21, in the afternoon
DAYS = TimePartitions("daily", start="2026-09-01", timezone="UTC", name="days")
REGIONS = StaticPartitions(["eu", "us"], name="regions")
SHOPS = DynamicPartitions("shops")


def defined(days: TimePartitions = DAYS, regions: StaticPartitions = REGIONS) -> Definitions:
    cube = MultiPartitions(day=days, region=regions, shop=SHOPS, name="cube")
    return Definitions(assets=(AssetSpec("cubed", partitions=cube), AssetSpec("daily", partitions=days)), version="v1")


CUBE = defined().partition_set["cube"]


def told(events: Iterable[Event]) -> list[tuple[str, str | None, Sequence[int]]]:
    return [(event.type, event.set, event.numbers) for event in events if event.type.startswith("partition_")]


def live(db: sqlite3.Connection, name: str) -> list[int]:
    return list(read_sets(db)[name].live)


def ref(day: str, region: str, shop: str) -> PartitionRef:
    parts = (
        PartitionRef("days", day, number=DAYS.number(day)),
        PartitionRef("regions", region),
        PartitionRef("shops", shop),
    )
    return PartitionRef("cube", f"day={day}|region={region}|shop={shop}", parts=parts)


def use(db: sqlite3.Connection, *refs: PartitionRef) -> tuple[list[int], tuple[Event, ...]]:
    log = EventLog(db, TODAY)
    found = intern(db, log, refs, TODAY)
    return [found[one].number for one in refs], log.write()


# --- windows ---------------------------------------------------------------------------------------------------


def test_windows_are_live_from_the_start_to_the_last_that_closed(db: sqlite3.Connection) -> None:
    events = register_definitions(db, defined(), TODAY)
    first, last = DAYS.number("2026-09-01"), DAYS.number("2026-09-20")
    assert ("partition_added", "days", range(first, last + 1)) in told(events)
    assert live(db, "days") == list(range(first, last + 1))
    assert register_definitions(db, defined(), TODAY + DAY) != (), "a day has closed"
    assert register_definitions(db, defined(), TODAY + DAY) == ()
    assert register_definitions(db, defined(), TODAY - 5 * DAY) == (), "a clock that stepped back closes nothing again"
    assert live(db, "days")[-1] == last + 1


def test_opening_is_one_event_and_never_shrinks(db: sqlite3.Connection) -> None:
    register_definitions(db, defined(), TODAY)
    last = live(db, "days")[-1]
    assert told(open_sets(db, {"days": last + 3}, TODAY)) == [("partition_added", "days", range(last + 1, last + 4))]
    assert open_sets(db, {"days": last + 3}, TODAY) == ()
    assert open_sets(db, {"days": last}, TODAY) == ()
    assert live(db, "days")[-1] == last + 3


def test_a_moved_start_hides_and_shows_and_loses_nothing(db: sqlite3.Connection) -> None:
    register_definitions(db, defined(), TODAY)
    number = DAYS.number("2026-09-03")
    make(db, "daily", PartitionRef("days", "2026-09-03", number=number))
    later = replace(DAYS, start="2026-09-10")
    gone = range(DAYS.number("2026-09-01"), DAYS.number("2026-09-10"))
    assert told(register_definitions(db, defined(later), TODAY)) == [("partition_deleted", "days", gone)]
    earlier = replace(DAYS, start="2026-08-30")
    came = range(DAYS.number("2026-08-30"), DAYS.number("2026-09-10"))
    assert told(register_definitions(db, defined(earlier), TODAY)) == [("partition_added", "days", came)]
    assert list(asset_bits(db)["daily"].materialized) == [number]
    shown = replace(DAYS, end_offset=1)
    register_definitions(db, defined(shown), TODAY)
    assert live(db, "days")[-1] == DAYS.number("2026-09-21")
    assert told(register_definitions(db, defined(), TODAY)) == [
        ("partition_deleted", "days", range(DAYS.number("2026-09-21"), DAYS.number("2026-09-22")))
    ]


def test_a_window_that_is_used_gets_a_row_and_opens_its_set(db: sqlite3.Connection) -> None:
    register_definitions(db, defined(), TODAY)
    number = DAYS.number("2026-09-22")
    wanted = PartitionRef("days", "2026-09-22", number=number)
    numbers, events = use(db, wanted)
    assert (numbers, told(events)) == ([number], [("partition_added", "days", range(number - 1, number + 1))])
    assert use(db, wanted) == ([number], ())
    assert rows(db, "SELECT key FROM partitions WHERE number = ?", number) == ["2026-09-22"]


def test_windows_are_paged_whether_they_were_used_or_not(db: sqlite3.Connection) -> None:
    register_definitions(db, defined(), TODAY)
    make(db, "daily", PartitionRef("days", "2026-09-02", number=DAYS.number("2026-09-02")))
    page = partition_rows(db, "days", limit=3, assets=("daily",), keys=DAYS.keys)
    assert [(row.key, row.states["daily"], row.added_at) for row in page] == [
        ("2026-09-01", "missing", None),
        ("2026-09-02", "materialized", TODAY),
        ("2026-09-03", "missing", None),
    ]
    rest = partition_rows(db, "days", limit=100, after=page[-1].number, keys=DAYS.keys)
    assert [row.key for row in rest] == [f"2026-09-{day:02}" for day in range(4, 21)]
    assert partition_rows(db, "days", after=rest[-1].number, keys=DAYS.keys) == ()


@pytest.mark.parametrize(
    "other",
    [
        TimePartitions("hourly", start="2026-09-01", timezone="UTC", name="days"),
        TimePartitions("daily", start="2026-09-01", timezone="Asia/Tokyo", name="days"),
    ],
)
def test_another_numbering_is_another_set(db: sqlite3.Connection, other: TimePartitions) -> None:
    register_definitions(db, defined(), TODAY)
    make(db, "daily", PartitionRef("days", "2026-09-02", number=DAYS.number("2026-09-02")))
    set_id, cube_id = rows(db, "SELECT id FROM partition_sets WHERE name IN ('days', 'cube') ORDER BY name DESC")
    loaded = register_definitions(db, defined(other), TODAY)[-1]
    assert loaded.data == {"version": "v1", "renumbered": {"days": f"days@{set_id}", "cube": f"cube@{cube_id}"}}
    assert live(db, "days") == list(other.live(TODAY))
    assert list(asset_bits(db)["daily"].materialized) == []
    assert rows(db, "SELECT key FROM partitions WHERE set_id = ?", set_id) == ["2026-09-02"], "its history is kept"
    assert register_definitions(db, defined(other), TODAY) == ()


def test_a_list_that_becomes_dynamic_stays_what_it_is(db: sqlite3.Connection) -> None:
    register_definitions(db, Definitions(partitions=(REGIONS,), version="v1"), TODAY)
    register_definitions(db, Definitions(partitions=(DynamicPartitions("regions"),), version="v1"), TODAY)
    assert live(db, "regions") == [1, 2]
    days = TimePartitions("daily", start="2026-09-01", timezone="UTC", name="regions")
    (event, loaded) = register_definitions(db, Definitions(partitions=(days,), version="v1"), TODAY)
    assert (event.numbers, loaded.data) == (
        range(DAYS.number("2026-09-01"), DAYS.number("2026-09-21")),
        {"version": "v1", "renumbered": {"regions": "regions@1"}},
    )


# --- combinations ----------------------------------------------------------------------------------------------


def make(db: sqlite3.Connection, asset: str, at: PartitionRef) -> None:
    """One materialization, to its good end."""
    run = one_step(asset, set=at.set, key=at.key, partition=at.number, parts=at.parts)
    admitted, _ = admit(db, [run], start=1, needs={}, now=TODAY, version="v1")
    finish_step(db, StepResult(admitted.runs[0].run_id, 0, 1, "succeeded", TODAY, VALUE))


@pytest.fixture
def cube(db: sqlite3.Connection) -> sqlite3.Connection:
    register_definitions(db, defined(), TODAY)
    change_partitions(db, PartitionDelta("shops", (("a", {}), ("b", {}))), TODAY)
    return db


def test_a_combination_is_numbered_when_it_is_first_used(cube: sqlite3.Connection) -> None:
    one, other = ref("2026-09-02", "eu", "a"), ref("2026-09-02", "us", "a")
    numbers, events = use(cube, one, other, one)
    assert numbers == [1, 2, 1]
    assert [(event.partition, event.data) for event in events] == [
        (1, {"key": one.key, "place": [DAYS.number("2026-09-02"), 1, 1]}),
        (2, {"key": other.key, "place": [DAYS.number("2026-09-02"), 2, 1]}),
    ]
    assert use(cube, other) == ([2], ())
    assert read_sets(cube)["cube"].places == (
        (1, (DAYS.number("2026-09-02"), 1, 1)),
        (2, (DAYS.number("2026-09-02"), 2, 1)),
    )


def test_a_part_that_is_not_there_is_named_with_its_dimension(cube: sqlite3.Connection) -> None:
    with pytest.raises(UnknownName, match=r"the dimension 'shop': the partition set 'shops' .*'zz'"):
        use(cube, ref("2026-09-02", "eu", "zz"))
    assert live(cube, "cube") == []


def test_a_combination_goes_and_comes_with_a_dynamic_key(cube: sqlite3.Connection) -> None:
    refs = [ref(f"2026-09-{day:02}", "eu", "a") for day in range(2, 6)]
    for one in (*refs, ref("2026-09-02", "eu", "b")):
        make(cube, "cubed", one)
    _, events = change_partitions(cube, PartitionDelta("shops", delete=("a",)), TODAY)
    assert told(events) == [("partition_deleted", "shops", range(1, 2)), ("partition_deleted", "cube", range(1, 5))]
    assert live(cube, "cube") == [5]
    assert list(asset_bits(cube)["cubed"].materialized) == [5]
    _, events = change_partitions(cube, PartitionDelta("shops", (("a", {}),)), TODAY)
    assert told(events) == [("partition_added", "shops", range(1, 2)), ("partition_added", "cube", range(1, 5))]
    assert rows(cube, "SELECT DISTINCT generation FROM partitions p JOIN combinations USING (set_id, number) "
                "WHERE number < 5") == [2]  # fmt: skip
    assert list(asset_bits(cube)["cubed"].materialized) == [5], "a new generation, with nothing remembered"


def test_a_combination_is_shown_as_it_was_with_a_listed_key_and_a_window(cube: sqlite3.Connection) -> None:
    make(cube, "cubed", ref("2026-09-02", "us", "a"))
    one = replace(DAYS, start="2026-09-05")
    only = StaticPartitions(["eu"], name="regions")
    assert told(register_definitions(cube, defined(regions=only), TODAY))[-1] == (
        "partition_deleted", "cube", range(1, 2),
    )  # fmt: skip
    assert told(register_definitions(cube, defined(one, only), TODAY)) == [
        ("partition_deleted", "days", range(DAYS.number("2026-09-01"), DAYS.number("2026-09-05")))
    ], "it is gone already"
    assert ("partition_added", "cube", range(1, 2)) not in told(register_definitions(cube, defined(one), TODAY))
    assert told(register_definitions(cube, defined(), TODAY))[-1] == ("partition_added", "cube", range(1, 2))
    assert list(asset_bits(cube)["cubed"].materialized) == [1]


def test_a_new_generation_of_a_part_is_one_of_the_combination_though_it_is_hidden(cube: sqlite3.Connection) -> None:
    make(cube, "cubed", ref("2026-09-02", "us", "a"))
    only = StaticPartitions(["eu"], name="regions")
    register_definitions(cube, defined(regions=only), TODAY)
    change_partitions(cube, PartitionDelta("shops", delete=("a",)), TODAY)
    change_partitions(cube, PartitionDelta("shops", (("a", {}),)), TODAY)
    register_definitions(cube, defined(), TODAY)
    assert live(cube, "cube") == [1]
    assert list(asset_bits(cube)["cubed"].materialized) == []


def test_places_are_numbered_once_and_only_while_their_parts_are_there(cube: sqlite3.Connection) -> None:
    assert isinstance(CUBE, MultiPartitions)
    first, last = DAYS.number("2026-09-01"), DAYS.number("2026-09-20")
    places = [(day, region, shop) for day in (first, last) for region in (1, 2) for shop in (1, 2)]
    change_partitions(cube, PartitionDelta("shops", delete=("b",)), TODAY)
    events = number_places(cube, CUBE, [*places, (last + 1, 1, 1), (first - 1, 1, 1), (first, 3, 1)], TODAY)
    assert [event.data["place"] for event in events] == [list(place) for place in places if place[2] == 1]
    assert events[0].data["key"] == "day=2026-09-01|region=eu|shop=a"
    assert number_places(cube, CUBE, places, TODAY) == ()


def test_values_are_read_by_key_for_the_partitions_asked_for(cube: sqlite3.Connection) -> None:
    for one in ("2026-09-02", "2026-09-05", "2026-09-06"):
        make(cube, "daily", PartitionRef("days", one, number=DAYS.number(one)))
    everything = read_sets(cube)["days"].live
    values, without = read_inputs(cube, "daily", "days", everything)
    assert list(values) == ["2026-09-02", "2026-09-05", "2026-09-06"]
    assert len(without) == len(everything) - 3
    thin = type(everything)([DAYS.number("2026-09-05"), DAYS.number("2026-09-07"), 4_000_000_000])
    values, without = read_inputs(cube, "daily", "days", thin)
    assert (list(values), list(without)) == (["2026-09-05"], [DAYS.number("2026-09-07"), 4_000_000_000])
    assert partition_keys(cube, "shops", [2, 1, 9]) == {2: "b", 1: "a"}


# --- against an oracle -----------------------------------------------------------------------------------------

_LISTS = ["eu", "us", "as", "eu us", "eu as", "us as eu"]
_PLACES = st.tuples(st.integers(1, 4), st.sampled_from(["eu", "us", "as"]), st.sampled_from("ab"))
_CHANGE = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("ab")),
    st.tuples(st.just("delete"), st.sampled_from("ab")),
    st.tuples(st.just("regions"), st.sampled_from(_LISTS)),
    st.tuples(st.just("start"), st.integers(1, 4)),
    st.tuples(st.just("use"), _PLACES),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(_CHANGE, max_size=15))
def test_a_combination_is_live_while_its_parts_are(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, object]]
) -> None:
    """Whatever order keys, lists and starts come and go in; and what is remembered is of the present generations."""
    db = open_database(tmp_path_factory.mktemp("cube") / "freshet.db")
    db.execute("BEGIN")
    generation = {"a": 0, "b": 0}
    shops, regions, start = set[str](), {"eu", "us"}, 1
    made: dict[tuple[int, str, str], int] = {}

    def declare() -> None:
        days = replace(DAYS, start=f"2026-09-{start:02}")
        register_definitions(db, defined(days, StaticPartitions(sorted(regions), name="regions")), TODAY)

    declare()
    begin: list[tuple[str, object]] = [("add", "a"), ("add", "b"), ("use", (2, "eu", "a")), ("use", (3, "us", "b"))]
    for change in [*begin, *changes]:
        match change:
            case ("add", str(shop)):
                change_partitions(db, PartitionDelta("shops", ((shop, {}),)), TODAY)
                generation[shop] += shop not in shops
                shops.add(shop)
            case ("delete", str(shop)):
                change_partitions(db, PartitionDelta("shops", delete=(shop,)), TODAY)
                shops.discard(shop)
            case ("regions", str(keys)):
                regions = set(keys.split())
                declare()
            case ("start", int(day)):
                start = day
                declare()
            case (_, (int(day), str(region), str(shop))):
                if day >= start and region in regions and shop in shops:
                    make(db, "cubed", ref(f"2026-09-{day:02}", region, shop))
                    made[day, region, shop] = generation[shop]
            case _:
                raise AssertionError(change)
    of_cube = "FROM partitions p JOIN partition_sets s ON s.id = p.set_id WHERE s.name = 'cube'"
    number = dict(rows(db, f"SELECT p.key, p.number {of_cube}"))
    assert len(number) == len(made)
    there = {
        place: number[ref(f"2026-09-{place[0]:02}", *place[1:]).key]
        for place in made
        if place[0] >= start and place[1] in regions and place[2] in shops
    }
    assert set(live(db, "cube")) == set(there.values())
    current = {one for place, one in there.items() if made[place] == generation[place[2]]}
    assert set(asset_bits(db)["cubed"].materialized) == current
    db.close()


def test_a_part_of_many_combinations_that_lie_apart_goes_and_comes_in_one_event(db: sqlite3.Connection) -> None:
    grid = MultiPartitions(a=DynamicPartitions("a"), b=DynamicPartitions("b"), name="grid")
    register_definitions(db, Definitions(assets=(AssetSpec("over", partitions=grid),)), 1.0)
    change_partitions(db, PartitionDelta("a", add=(("x", {}), ("y", {}))), 1.0)
    change_partitions(db, PartitionDelta("b", add=tuple((f"b{n}", {}) for n in range(40))), 1.0)
    number_places(db, grid, [(a, b) for b in range(1, 41) for a in (1, 2)], 1.0)
    gone, back = PartitionDelta("a", delete=("x",)), PartitionDelta("a", add=(("x", {}),))
    for delta, kind in ((gone, "deleted"), (back, "added")):
        _, events = change_partitions(db, delta, 2.0)
        (told,) = (event for event in events if event.set == "grid")
        assert (told.type, list(told.numbers)) == (f"partition_{kind}", list(range(1, 81, 2)))


GRID = MultiPartitions(a=DynamicPartitions("a"), b=DynamicPartitions("b"), name="grid")


def changed_in_pieces(db: sqlite3.Connection, set: str, key: str, *, add: bool) -> Iterator[None]:
    """A key that comes or goes by itself, then what hangs on it; planned at once, and yields before each piece."""
    hanging = strands(db, set, key, 2, live=not add)
    delta = PartitionDelta(set, add=((key, {}),) if add else (), delete=() if add else (key,), alone=bool(hanging))
    yield
    change_partitions(db, delta, 2.0)
    for strand in hanging:
        yield
        log = EventLog(db, 2.0)
        settle_strand(db, log, strand, 2.0, tick_id=None)
        log.write()


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_what_hangs_on_keys_follows_in_pieces_whatever_comes_between(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In the end a combination is live while its parts are, and is of a generation of its own since each came."""
    db = open_database(tmp_path_factory.mktemp("grid") / "freshet.db")
    register_definitions(db, Definitions(assets=(AssetSpec("over", partitions=GRID),)), 1.0)
    keys = {"a": ("x", "y"), "b": tuple(f"b{n}" for n in range(5))}
    for name, several in keys.items():
        change_partitions(db, PartitionDelta(name, add=tuple((key, {}) for key in several)), 1.0)
    number_places(db, GRID, [(a, b) for a in (1, 2) for b in range(1, 6)], 1.0)
    under_way: list[Iterator[None]] = []
    for _ in range(data.draw(st.integers(1, 14))):
        name = data.draw(st.sampled_from(("a", "b")))
        key = data.draw(st.sampled_from(keys[name]))
        what = data.draw(st.sampled_from(("go on", "go on", "add", "delete", "use")))
        if what == "use":
            before = _generations(db)
            a, b = data.draw(st.sampled_from(keys["a"])), data.draw(st.sampled_from(keys["b"]))
            parts = PartitionRef("a", a), PartitionRef("b", b)
            log = EventLog(db, 2.0)
            with contextlib.suppress(UnknownName):
                found = intern(db, log, [PartitionRef("grid", f"a={a}|b={b}", parts=parts)], 2.0)
                log.write()
                ((number, generation),) = ((one.number, one.generation) for one in found.values())
                assert rows(db, _LIVE_GRID, number) == [1], "what is asked for is there"
                assert generation >= before[number]
        elif what == "go on":
            if under_way:
                chosen = data.draw(st.sampled_from(under_way))
                if next(chosen, "over") == "over":
                    under_way.remove(chosen)
        else:
            under_way.append(changed_in_pieces(db, name, key, add=what == "add"))
    for rest in under_way:
        for _ in rest:
            pass
    there = {name: set(rows(db, _LIVE_KEYS, name)) for name in keys}
    for a in keys["a"]:
        for b in keys["b"]:
            (shown, generation) = rows(db, _GRID_ROW, f"a={a}|b={b}")[0]
            assert bool(shown) == (a in there["a"] and b in there["b"])
            came = max(rows(db, _GENERATION, name, key)[0] for name, key in (("a", a), ("b", b)))
            assert generation >= came or not shown
    db.close()


_LIVE_KEYS = """
SELECT p.key FROM partitions p JOIN partition_sets s ON s.id = p.set_id WHERE s.name = ? AND p.deleted_at IS NULL
"""
_GENERATION = """
SELECT p.generation FROM partitions p JOIN partition_sets s ON s.id = p.set_id WHERE s.name = ? AND p.key = ?
"""
_GRID_ROW = """
SELECT p.deleted_at IS NULL, p.generation FROM partitions p JOIN partition_sets s ON s.id = p.set_id
WHERE s.name = 'grid' AND p.key = ?
"""
_LIVE_GRID = """
SELECT p.deleted_at IS NULL FROM partitions p JOIN partition_sets s ON s.id = p.set_id
WHERE s.name = 'grid' AND p.number = ?
"""


def _generations(db: sqlite3.Connection) -> dict[int, int]:
    return dict(
        rows(
            db,
            """
            SELECT p.number, p.generation FROM partitions p JOIN partition_sets s ON s.id = p.set_id
            WHERE s.name = 'grid'
            """,
        )
    )


def test_what_is_asked_for_before_it_follows_its_part_is_there_and_renewed_once(db: sqlite3.Connection) -> None:
    register_definitions(db, Definitions(assets=(AssetSpec("over", partitions=GRID),)), 1.0)
    change_partitions(db, PartitionDelta("a", add=(("x", {}),)), 1.0)
    change_partitions(db, PartitionDelta("b", add=tuple((f"b{n}", {}) for n in range(5))), 1.0)
    number_places(db, GRID, [(1, b) for b in range(1, 6)], 1.0)
    for _ in changed_in_pieces(db, "a", "x", add=False):
        pass
    assert live(db, "grid") == []
    coming = changed_in_pieces(db, "a", "x", add=True)
    next(coming)
    next(coming)
    assert live(db, "grid") == [], "the part alone has come"
    parts = PartitionRef("a", "x"), PartitionRef("b", "b3")
    (found,) = intern(db, EventLog(db, 2.0), [PartitionRef("grid", "a=x|b=b3", parts=parts)], 2.0).values()
    assert (live(db, "grid"), found.generation) == ([found.number], 2)
    for _ in coming:
        pass
    assert (live(db, "grid"), set(_generations(db).values())) == ([1, 2, 3, 4, 5], {2})
