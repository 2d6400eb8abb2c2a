"""SqlSensor on real SQLite files: plain, by SQLAlchemy, and by a function."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sensors.support import BATCHES, Killed, World

from freshet import DefinitionError, FreshetError, RetryLater
from freshet_sensors import SqlSensor
from freshet_sensors.query import Query

QUERY = "SELECT * FROM orders WHERE id > :cursor ORDER BY id LIMIT 10"


@dataclass
class Orders:
    """A table of orders in a file of its own."""

    path: Path

    def __post_init__(self) -> None:
        self.run("CREATE TABLE orders (id INTEGER, name TEXT, at TEXT)")

    def run(self, sql: str, *rows: tuple[Any, ...]) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            for row in rows or [()]:
                db.execute(sql, row)

    def put(self, ids: Iterable[int]) -> None:
        self.run("INSERT INTO orders VALUES (?, ?, ?)", *[(n, f"name {n}", f"2026-11-{n:02}") for n in ids])

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path / "my orders#1.db")


def reading(orders: Orders, **options: Any) -> SqlSensor:
    defaults: dict[str, Any] = {"url": orders.url, "query": QUERY, "target": "load"}
    if "connect" in options:
        del defaults["url"]
    return SqlSensor("orders", **(defaults | options))


@pytest.mark.anyio
async def test_rows_come_once_and_in_order(orders: Orders) -> None:
    world, sensor = World(), reading(orders, params=["name"])
    orders.put(range(1, 26))
    await world.tick(sensor)
    assert world.item_keys == [f"{n}@{n}" for n in range(1, 26)]
    assert world.runs[3].params == {"name": "name 4"}
    assert world.cursor == 25
    await world.tick(sensor)
    orders.put([26])
    await world.tick(reading(orders))
    assert world.item_keys[25:] == ["26@26"]


@pytest.mark.anyio
async def test_rows_become_partitions_with_what_is_in_them(orders: Orders) -> None:
    world = World()
    orders.put([1])
    orders.run("INSERT INTO orders VALUES (2, NULL, NULL), (3, '.hidden', NULL), (4, 'name 4', 'x')")
    await world.tick(reading(orders, key="{name}", partitions=BATCHES))
    assert world.partitions == {
        "name 1": {"id": 1, "name": "name 1", "at": "2026-11-01"},
        "name 4": {"id": 4, "name": "name 4", "at": "x"},
    }
    assert [run.partition for run in world.runs] == ["name 1", "name 4"]
    assert [line[1] for line in world.log.lines] == ["item passed over"] * 2
    await world.tick(reading(orders, key="{name}", partitions=BATCHES))
    assert len(world.log.lines) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("by", ["url", "sqlalchemy", "env", "connect"])
async def test_each_way_to_connect(orders: Orders, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_DB", orders.url)
    ways: dict[str, dict[str, Any]] = {
        "url": {},
        "sqlalchemy": {"url": f"sqlite+pysqlite:///{orders.path}"},
        "env": {"url": "env:ORDERS_DB"},
        "connect": {"connect": lambda: sqlite3.connect(orders.path)},
    }
    world = World()
    orders.put(range(1, 13))
    for _ in range(2):
        await world.tick(reading(orders, **ways[by]))
    assert len(world.item_keys) == len(set(world.item_keys)) == 12


@pytest.mark.anyio
async def test_it_cannot_write(orders: Orders) -> None:
    orders.put([1])
    tried: list[str] = []

    def connect() -> sqlite3.Connection:
        db = sqlite3.connect(orders.path, check_same_thread=False)

        def meddle() -> int:
            try:
                db.execute("DELETE FROM orders")
            except sqlite3.OperationalError as error:
                tried.append(str(error))
            return 0

        db.create_function("meddle", 0, meddle)
        return db

    await World().tick(reading(orders, connect=connect, query=QUERY.replace("*", "*, meddle()")))
    assert set(tried) == {"attempt to write a readonly database"}


@pytest.mark.anyio
async def test_it_begins_after_start(orders: Orders) -> None:
    world = World()
    orders.put(range(1, 6))
    await world.tick(reading(orders, start=3))
    assert world.item_keys == ["4@4", "5@5"]


@pytest.mark.anyio
async def test_values_keep_their_type() -> None:
    """Also of drivers that bring more than SQLite's own types."""
    kinds: list[tuple[str, list[Any]]] = [
        ("stamp", [datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)]),
        ("stamp", [datetime(2026, 11, 21), datetime(2026, 11, 21, 0, 0, 0, 1)]),
        ("money", [Decimal("1.10"), Decimal("1.20")]),
        ("plain", [0.1, 0.1 + 0.2]),
        ("plain", ["a", "b"]),
        ("plain", [b"\x00", b"\x01"]),
    ]
    for kind, values in kinds:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "kinds.db")

            def write(value: Any, path: Path = path) -> None:
                plain = value if isinstance(value, (float, str, bytes)) else str(value)
                with closing(sqlite3.connect(path)) as db, db:
                    db.execute("CREATE TABLE IF NOT EXISTS kinds (v)")
                    db.execute("INSERT INTO kinds VALUES (?)", (plain,))

            def connect(path: Path = path, kind: str = kind) -> Any:
                return _Typed(path, {"stamp": datetime.fromisoformat, "money": Decimal}.get(kind, _same))

            sensor = SqlSensor(
                "kinds", connect=connect, query="SELECT v FROM kinds WHERE v > :cursor ORDER BY v",
                cursor="v", key="{v}", target="load", paramstyle="qmark",
            )  # fmt: skip
            world = World()
            for value in values:
                write(value)
                await world.tick(sensor)
                await world.tick(sensor)
            assert len(world.runs) == 2, (kind, values, world.item_keys)


def _same(value: Any) -> Any:
    return value


class _Typed:
    """A DB-API connection whose columns are of another type, as other databases have them."""

    def __init__(self, path: Path, made: Any) -> None:
        self._db = sqlite3.connect(path)
        self._made = made

    def cursor(self) -> _Typed:
        self._cursor = self._db.cursor()
        return self

    def execute(self, sql: str, given: Any = ()) -> None:
        assert all(type(one) is type(self._made(_text(one))) for one in given)
        self._cursor.execute(sql, [_text(one) for one in given])
        self.description = self._cursor.description

    def fetchmany(self, count: int) -> list[tuple[Any, ...]]:
        return [tuple(map(self._made, row)) for row in self._cursor.fetchmany(count)]

    def rollback(self) -> None:
        self._db.rollback()

    def close(self) -> None:
        self._db.close()


def _text(value: Any) -> Any:
    return value if isinstance(value, (float, str, bytes)) else str(value)


@pytest.mark.anyio
async def test_what_goes_wrong_is_told_and_nothing_advances(orders: Orders, tmp_path: Path) -> None:
    orders.put([2, 1])
    for options, error in [
        ({"url": f"sqlite:///{tmp_path}/none.db"}, "unable to open database file .is it up"),
        ({"query": QUERY.replace("orders", "odrers")}, "no such table: odrers"),
        ({"cursor": "nr"}, "brings no 'nr' .it has id, name, at"),
        ({"query": QUERY.replace("BY id", "BY -id")}, "id 1 comes after 2 .ORDER BY id"),
        ({"url": "nosuch://x"}, "nosuch"),
        ({"url": "sqlite+aiosqlite:///x"}, "is an async driver"),
        ({"url": "env:NO_SUCH_DB"}, "has no NO_SUCH_DB"),
    ]:
        world = World()
        with pytest.raises(FreshetError, match=error):
            await world.tick(reading(orders, **options))
        assert world.commits == 0
    orders.run("INSERT INTO orders VALUES (NULL, 'x', 'y')")
    with pytest.raises(FreshetError, match="AND id IS NOT NULL"):
        await World().tick(reading(orders, query=QUERY.replace(" WHERE", ", (SELECT 1) WHERE id IS NULL OR"), start=0))


@pytest.mark.anyio
async def test_a_look_that_failed_keeps_no_lock(orders: Orders) -> None:
    orders.put(range(1000, 0, -1))
    with pytest.raises(FreshetError, match="comes after") as error:
        await World().tick(reading(orders, query=QUERY.replace("BY id LIMIT 10", "BY -id"), page=5))
    with closing(sqlite3.connect(orders.path, timeout=0)) as db, db:
        db.execute("INSERT INTO orders VALUES (0, 'x', 'y')")
    assert error.value.__traceback__ is not None  # held until here


@pytest.mark.anyio
async def test_as_many_equal_values_as_the_limit_are_told(orders: Orders) -> None:
    world = World()
    orders.run("INSERT INTO orders VALUES (1, ?, 'x')", *[(f"n{n}",) for n in range(11)])
    with pytest.raises(FreshetError, match=r"10 rows share the last id.*raise its LIMIT"):
        await world.tick(reading(orders, key="{name}"))
    await world.tick(reading(orders, key="{name}", query=QUERY.replace("LIMIT 10", "LIMIT 12")))
    assert sorted(world.item_keys) == sorted(f"n{n}@1" for n in range(11))


@pytest.mark.anyio
async def test_the_ledger_keeps_no_more_than_it_needs(orders: Orders) -> None:
    world = World()
    orders.put(range(1, 6001))
    await world.tick(reading(orders, query=QUERY.replace("10", "500")))
    assert len(world.runs) == 6000
    assert len(world.entries) < 3000


@pytest.mark.anyio
async def test_a_query_that_hangs_is_not_asked_again_beside_itself(orders: Orders) -> None:
    let = threading.Event()

    def connect() -> sqlite3.Connection:
        assert let.wait(30)
        return sqlite3.connect(orders.path)

    orders.put([1])
    world, sensor = World(), reading(orders, connect=connect)
    hanging = asyncio.create_task(world.tick(sensor))
    await asyncio.sleep(0)
    with pytest.raises(RetryLater, match="has not returned"):
        await world.tick(sensor)
    let.set()
    await hanging
    assert world.item_keys == ["1@1"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"query": "SELECT * FROM orders ORDER BY id"}, "has no :cursor"),
        ({"query": "SELECT * FROM o WHERE a = ':cursor' ORDER BY id -- :cursor"}, "has no :cursor"),
        ({"query": "SELECT * FROM o WHERE id > :cursor"}, "has no ORDER BY"),
        ({"query": "SELECT * FROM (SELECT * FROM o WHERE id > :cursor ORDER BY id)"}, "has no ORDER BY"),
        ({"query": "SELECT * FROM o WHERE id < :cursor ORDER BY id"}, "does not compare"),
        ({"query": "SELECT * FROM o WHERE id > :id ORDER BY id"}, "has the parameter :id"),
        ({"query": "DELETE FROM o WHERE id > :cursor ORDER BY id"}, "is no SELECT"),
        ({"query": QUERY.replace("10", "5, 10")}, "ends in"),
        ({"query": QUERY + " OFFSET 3"}, "ends in"),
        ({"query": QUERY.replace("10", "1")}, "at least 2"),
        ({"url": None}, "one of them"),
        ({"connect": "x", "url": None}, "is no function"),
        ({"key": "id"}, "names no field"),
        ({"start": True}, "no place in an order"),
        ({"page": 0}, "page=0"),
        ({"paramstyle": "dollar"}, "use qmark"),
        ({"target": None}, "neither partitions nor target"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], error: str) -> None:
    given: dict[str, Any] = {"url": "sqlite:///x", "query": QUERY, "target": "load", **options}
    with pytest.raises(DefinitionError, match=error):
        SqlSensor("orders", **given)


@pytest.mark.parametrize(
    ("style", "sql", "given"),
    [
        ("qmark", "a LIKE '5%:cursor' AND b::int >= ? /* :x */ OR c >= ?", (7, 7)),
        ("format", "a LIKE '5%%:cursor' AND b::int >= %s /* :x */ OR c >= %s", (7, 7)),
        ("pyformat", "a LIKE '5%%:cursor' AND b::int >= %(cursor)s /* :x */ OR c >= %(cursor)s", {"cursor": 7}),
        ("named", "a LIKE '5%:cursor' AND b::int >= :cursor /* :x */ OR c >= :cursor", {"cursor": 7}),
        ("numeric", "a LIKE '5%:cursor' AND b::int >= :1 /* :x */ OR c >= :2", (7, 7)),
    ],
)
def test_the_query_in_each_driver_s_style(style: str, sql: str, given: Any) -> None:
    begin, end = "SELECT * FROM t WHERE ", " ORDER BY b"
    query = Query(f"{begin}a LIKE '5%:cursor' AND b::int > :cursor /* :x */ OR c >= :cursor{end}", what="query")
    assert query.render("at", style, 7) == (begin + sql + end, given)
    whole = "a LIKE '5%:cursor' AND b::int  IS NOT NULL /* :x */ OR c  IS NOT NULL"
    assert query.render("start", style, None) == (begin + whole + end, None)
    assert (query.limit, Query(QUERY + ";", what="q").limit) == (None, 10)


# --- the model ---------------------------------------------------------------------------------------------

LIMIT = 6
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.integers(0, 3), min_size=1, max_size=8)),
        st.tuples(st.just("tick"), st.one_of(st.none(), st.integers(0, 4))),
        st.tuples(st.just("anew"), st.none()),
        st.tuples(st.just("drop"), st.integers(0, 30)),
    ),
    max_size=14,
)


@settings(max_examples=120, deadline=None)
@given(steps=STEPS, page=st.integers(1, 9), limited=st.booleans())
def test_each_row_once(steps: list[tuple[str, Any]], page: int, limited: bool) -> None:
    """Rows come late, with values that others have; ticks are lost after some commits; the sensor is made anew."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_model(Orders(Path(folder, "orders.db")), steps, page, limited))


async def _model(orders: Orders, steps: list[tuple[str, Any]], page: int, limited: bool) -> None:
    query = "SELECT rowid AS row, * FROM orders WHERE id > :cursor ORDER BY id" + f" LIMIT {LIMIT}" * limited

    def made() -> SqlSensor:
        return reading(orders, query=query, key="{row}", page=page)

    world, sensor = World(), made()
    values: dict[int, int] = {}
    dropped: set[int] = set()
    for step, argument in [*steps, ("tick", None), ("tick", None)]:
        if step == "put":
            for more in cast("list[int]", argument):
                value = (world.cursor or 0) + more
                if list(values.values()).count(value) < LIMIT - 1:
                    values[len(values) + 1] = value
                    orders.run("INSERT INTO orders (rowid, id) VALUES (?, ?)", (len(values), value))
        elif step == "drop" and argument in values:
            orders.run("DELETE FROM orders WHERE rowid = ?", (argument,))
            dropped.add(argument)
        elif step == "anew":
            sensor = made()
        elif step == "tick":
            try:
                await world.tick(sensor, kill_after=argument)
            except Killed:
                assert argument is not None
    asked = [int(key.partition("@")[0]) for key in world.item_keys]
    assert len(asked) == len(set(asked))
    assert set(values) - dropped <= set(asked) <= set(values)
    assert [values[row] for row in asked] == sorted(values[row] for row in asked)


def test_a_url_that_needs_sqlalchemy_says_so_where_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(DefinitionError, match="url: such a url= needs SQLAlchemy"):
        SqlSensor("s", url="postgresql://host/db", query=QUERY, target="load")
    SqlSensor("s", url="env:ORDERS_DB", query=QUERY, target="load")
    SqlSensor("s", url="sqlite:///orders.db", query=QUERY, target="load")
