"""Connections to a database, by a URL or by the user's own function, and reading from them without writing."""

from __future__ import annotations

import importlib.util
import sqlite3
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote, urlsplit

from freshet import DefinitionError, FreshetError
from freshet_sensors.reference import filled, names_secret

__all__ = ["Connect", "cursor_on", "opener"]

Connect = Callable[[], Any]
"""Opens a DB-API connection, a new one at each call."""

_READ_ONLY = {
    "sqlite3": "PRAGMA query_only = ON",
    "psycopg": "SET TRANSACTION READ ONLY",
    "psycopg2": "SET TRANSACTION READ ONLY",
    "oracledb": "SET TRANSACTION READ ONLY",
    "pymysql": "START TRANSACTION READ ONLY",
    "MySQLdb": "START TRANSACTION READ ONLY",
}
"""What makes a driver's transaction refuse to write; the others are rolled back all the same."""


def opener(url: str, *, what: str) -> Connect:
    """How to connect to `url`. `sqlite:///PATH` needs nothing, others SQLAlchemy. Raises `DefinitionError` where that
    is not there, or a password stands in the URL; what it gives raises `FreshetError`."""
    if not url.startswith("sqlite:///") and not names_secret(url):
        if not _is_there("sqlalchemy"):
            raise DefinitionError(f"{what}: such a url= needs SQLAlchemy", hint="pip install 'freshet[sql]'")
        if _has_password(url):
            raise DefinitionError(f"{what}: a password stands in the plugin", hint='write url="env:ORDERS_DB"')

    def connect() -> Any:
        given = filled(url, what=what)
        if given.startswith("sqlite:///") and "?" not in given:
            path = given.removeprefix("sqlite:///")
            return sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)
        return _by_sqlalchemy(given, what)

    return connect


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # it is kept out
        return False


def _has_password(url: str) -> bool:
    try:
        return bool(urlsplit(url).password)
    except ValueError:  # the driver's own to understand
        return False


@contextmanager
def cursor_on(connect: Connect, *, what: str, style: str | None = None) -> Generator[tuple[Any, str]]:
    """A cursor in a transaction that is rolled back, and the driver's `paramstyle` (`style`, where that is given)."""
    connection = connect()
    try:
        cursor = connection.cursor()
        try:
            modules = list(_modules(connection))
            if (read_only := _READ_ONLY.get(modules[-1])) is not None:
                cursor.execute(read_only)
            yield cursor, style or _style(modules, what)
        finally:
            with suppress(Exception):  # a query read in part keeps its locks, whoever holds the traceback
                cursor.close()
            with suppress(Exception):  # closing ends the transaction too
                connection.rollback()
    finally:
        connection.close()


def _modules(connection: Any) -> Iterator[str]:
    """The modules that a connection may come from, the outermost package last."""
    connection = getattr(connection, "dbapi_connection", connection)
    name = type(connection).__module__
    while name:
        yield name
        name = name.rpartition(".")[0]


def _style(modules: list[str], what: str) -> str:
    for name in modules:
        if (style := getattr(sys.modules.get(name), "paramstyle", None)) is not None:
            return str(style)
    raise FreshetError(
        f"{what}: the driver {modules[-1]} does not say how it takes parameters",
        hint='say it: paramstyle="qmark" or another of PEP 249',
    )


def _by_sqlalchemy(url: str, what: str) -> Any:
    try:
        from sqlalchemy import create_engine
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.pool import NullPool
    except ModuleNotFoundError:
        raise FreshetError(f"{what}: such a url= needs SQLAlchemy", hint="pip install 'freshet[sql]'") from None
    try:
        engine = create_engine(url, poolclass=NullPool)
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise FreshetError(f"{what}: {error}", hint="for example postgresql+psycopg://host/database") from None
    if engine.dialect.is_async:
        raise FreshetError(f"{what}: {engine.dialect.driver} is an async driver", hint="name one that is not")
    return engine.raw_connection()
