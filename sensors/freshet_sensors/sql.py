"""SqlSensor: rows that come after those that were seen become partitions and runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple, Unpack, cast
from uuid import UUID

from freshet import (
    AddPartitions,
    DefinitionError,
    Duration,
    DynamicPartitions,
    FreshetError,
    PartitionKeyError,
    RetryLater,
    RunRequest,
    Sensor,
    SensorContext,
)
from freshet_sensors.database import Connect, cursor_on, opener
from freshet_sensors.flow import BatchedOptions
from freshet_sensors.items import FieldKey, Item, Plan, digest, say, text_of
from freshet_sensors.query import STYLES, From, Query

__all__ = ["SqlSensor"]

_FETCH = 256
_MANY = 1000


class Row(NamedTuple):
    """A row as it is known: its key (or what stands for one), the cursor column's value, as text and as it is."""

    key: str
    version: str
    value: Any
    fields: dict[str, Any]
    wrong: str | None


class Page(NamedTuple):
    """One run of the query: the rows that are new, and the keys of all `total` rows that were read."""

    fresh: list[Row]
    keys: set[str]
    total: int
    covers: bool
    """No row at the value that it began with was left out."""


class SqlSensor(Sensor):
    """Runs a query every `interval`, and admits each row that comes after those that it has seen.

    `connect`: a function that opens a DB-API connection, a new one at each call; or `url`: `sqlite:///PATH`, any other
    URL of SQLAlchemy (`pip install 'freshet[sql]'`), or where it stands: "env:NAME", "file:PATH" or "cred:NAME". One
    connection a page, in a thread, in a transaction that is rolled back, and read-only where the driver has that.

    `query` selects rows with `COLUMN > :cursor`, in that column's order: "SELECT * FROM orders WHERE id > :cursor ORDER
    BY id LIMIT 1000". Up to `page` rows are committed at a time. `cursor`: the column; its last value (a number, text,
    date or time, bytes) is what the sensor remembers. `start`: the value to begin after; None for all that is there.

    The column need not be unique: the query goes on with `>=`, and the ledger knows the rows at the last value, so that
    rows with equal values are neither lost over a page's end nor if they come later. Where as many as the query's LIMIT
    share one value, the look fails and says so. What must hold: no row appears with a smaller value than one seen
    before (where transactions that began earlier commit later, let the query leave out the last seconds). Rows with
    the same value and `key` are one.

    `key`: a template over the columns, "{id}" by default. With `partitions` it is the partition's key and the row its
    metadata; else `params` names the columns that become the run's parameters. The run key is `NAME:KEY@VALUE`,
    of the sensor's name, so that a row that is changed and gets a later value runs again, and a row of another sensor
    with the same target is another. Rows without a usable key are logged and passed over.
    """

    def __init__(
        self,
        name: str,
        *,
        query: str,
        connect: Connect | None = None,
        url: str | None = None,
        cursor: str = "id",
        key: str = "{id}",
        partitions: DynamicPartitions | None = None,
        target: object = None,
        params: Sequence[str] = (),
        start: Any = None,
        page: int = 1000,
        interval: Duration = "30s",
        timeout: Duration = "60s",
        paramstyle: str | None = None,
        run_params: Mapping[str, Any] | None = None,
        **flow: Unpack[BatchedOptions],
    ) -> None:
        options: dict[str, Any] = {"query": query, "cursor": cursor, "key": key, "page": page}
        super().__init__(
            name,
            interval=interval,
            timeout=timeout,
            target=target,
            partitions=partitions,
            options=options,
            params=run_params,
            **flow,
        )
        if (connect is None) == (url is None):
            raise DefinitionError(f"{name}: connect= or url=, one of them", hint='for example url="env:ORDERS_DB"')
        if connect is not None and not callable(connect):
            raise DefinitionError(f"{name}: connect= is no function", hint="give the function, not what it returns")
        if type(page) is not int or page < 1:
            raise DefinitionError(f"{name}: page={page!r}", hint="a number of rows, for example 1000")
        if paramstyle is not None and paramstyle not in STYLES:
            raise DefinitionError(f"{name}: paramstyle={paramstyle!r}", hint=f"use {', '.join(STYLES)}")
        self._query = Query(query, what=f"{name}: query")
        self._connect = opener(url, what=f"{name}: url") if url is not None else connect
        self._column = cursor
        self._key = FieldKey(key, what=f"{name}: key")
        self._plan = Plan.of(self, partitions=partitions, target=target, params=params)
        self._start = start
        self._page = page
        self._style = paramstyle
        self._reading = False
        if start is not None:
            try:
                _kept(start, f"{name}: start")
            except FreshetError as error:
                raise DefinitionError(error.message, hint=error.hint) from None

    async def evaluate(self, ctx: SensorContext) -> AsyncIterator[AddPartitions | RunRequest]:
        """Read on, page by page, until a page brings nothing new."""
        while True:
            mode: From = "at" if ctx.cursor is not None else "start" if self._start is None else "after"
            page = await self._read(ctx, mode, _given_back(ctx.cursor) if mode == "at" else self._start)
            ctx.lag(len(page.fresh))
            await self._prune(ctx, page)
            if not page.fresh:
                return
            for row in page.fresh:
                ctx.ledger.add(row.key, row.version)
            ctx.cursor = _kept(page.fresh[-1].value, f"{self.name}: {self._column}")
            items = [Item(row.key, f"{row.key}@{row.version}", row.fields, row.wrong) for row in page.fresh]
            for said in say(ctx, self._plan, items):
                yield said
            await ctx.checkpoint()

    async def _read(self, ctx: SensorContext, mode: From, value: Any) -> Page:
        from freshet_sensors.aside import aside

        if self._reading:
            raise RetryLater("the last query has not returned: does the database hang?")
        self._reading = True
        return await aside(self._read_aside, ctx, mode, value)

    def _read_aside(self, ctx: SensorContext, mode: From, value: Any) -> Page:
        assert self._connect is not None
        try:
            with cursor_on(self._connect, what=self.name, style=self._style) as (cursor, style):
                sql, given = self._query.render(mode, style, value)
                cursor.execute(sql) if given is None else cursor.execute(sql, given)
                page = self._page_of(ctx, cursor)
        except FreshetError:
            raise
        except Exception as error:  # each driver has its own
            said = f"{self.name}: the database says {type(error).__name__}: {error}"
            raise FreshetError(said, hint="is it up, are its tables there, and is the query right?") from error
        finally:
            self._reading = False
        if not page.fresh and page.total == self._query.limit:
            raise FreshetError(
                f"{self.name}: {page.total} rows share the last {self._column}, as many as the query brings",
                hint="raise its LIMIT above the number of rows that may have one value, or take a finer column",
            )
        return page

    def _page_of(self, ctx: SensorContext, cursor: Any) -> Page:
        names = [str(column[0]) for column in cursor.description]
        for name in (self._column, *self._key.fields, *self._plan.params):
            if name not in names:
                raise FreshetError(f"{self.name}: the query brings no {name!r}", hint=f"it has {', '.join(names)}")
        fresh: list[Row] = []
        met: set[tuple[str, str]] = set()
        values: list[Any] = []
        while len(fresh) < self._page and (rows := cursor.fetchmany(min(_FETCH, self._page - len(fresh)))):
            for row in rows:
                one = self._row({name: _plain(value) for name, value in zip(names, row, strict=True)})
                values.append(one.value)
                if not ctx.ledger.seen(one.key, one.version) and one[:2] not in met:
                    fresh.append(one)
                met.add(one[:2])
        self._check_order(values)
        covers = not values or values[0] != values[-1] or (len(values) != self._query.limit and len(fresh) < self._page)
        return Page(fresh, {key for key, _ in met}, len(values), covers)

    def _row(self, fields: dict[str, Any]) -> Row:
        value = fields[self._column]
        if value is None:
            raise FreshetError(f"{self.name}: a row has no {self._column}", hint=f"add: AND {self._column} IS NOT NULL")
        version = text_of(value, self._column)
        try:
            return Row(self._plan.checked(self._key.key(fields)), version, value, fields, None)
        except PartitionKeyError as error:
            return Row(f"row {digest(fields)}", version, value, fields, str(error))

    def _check_order(self, values: list[Any]) -> None:
        """Texts are in the order of the database's collation, which is its own."""
        for one, other in pairwise(values):
            if not isinstance(one, str) and type(one) is type(other) and other < one:
                raise FreshetError(
                    f"{self.name}: {self._column} {other} comes after {one}", hint=f"ORDER BY {self._column}"
                )

    async def _prune(self, ctx: SensorContext, page: Page) -> None:
        """Forget the rows that the query is past."""
        from freshet_sensors.aside import aside

        if page.covers and len(ctx.ledger) > 2 * len(page.keys) + _MANY:
            for key in await aside(lambda: list(ctx.ledger.absent(page.keys))):
                ctx.ledger.remove(key)


_TYPES: dict[str, tuple[type[Any], Any, Any]] = {
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
}


def _kept(value: Any, what: str) -> Any:
    """A value as the cursor keeps it: as it is, or with its type."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        return value
    for name, (kind, text, _) in _TYPES.items():
        if isinstance(value, kind):
            return {name: text(value)}
    raise FreshetError(f"{what}: {value!r:.100} has no place in an order", hint="take a number, a text or a time")


def _plain(value: Any) -> Any:
    """Drivers have their own kinds of bytes."""
    return bytes(cast("memoryview[int]", value)) if isinstance(value, bytearray | memoryview) else value


def _given_back(kept: Any) -> Any:
    if not isinstance(kept, dict):
        return kept
    given = cast("dict[str, Any]", kept)
    (name, text), *rest = given.items()
    if rest or name not in _TYPES:
        raise FreshetError(f"the cursor {kept} is no value", hint='set a number, a text, or {"datetime": "2026-01-01"}')
    return _TYPES[name][2](text)
