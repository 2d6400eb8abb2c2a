"""Which I/O manager keeps a value, and where: by the name that `@asset(io=)` gives, or else by the value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from freshet.definitions.io_manager import IOManager, ValueStore
from freshet.definitions.names import nearest_hint
from freshet.errors import ValueFormatError
from freshet.io import json
from freshet.io.plain import Bytes, Json, Nothing, Pickle, Text

__all__ = ["BUILT_IN", "Managers"]

_BY_TYPE: dict[type, str] = {type(None): "none", str: "text", bytes: "bytes"}
_JSON = frozenset({dict, list, int, float, bool})
_TABLES = ("pyarrow", "pandas", "polars")
_LATER = {"parquet": ("freshet.io.parquet", "Parquet")}
"""Those whose modules are loaded when they are first used."""
_S3_HINT = 'declare where: S3Values("s3://bucket/prefix")'


class Managers:
    """The built-in I/O managers, and a plugin folder's own with its stores.

    Where no `io` is named: None is `none`, a str `text`, bytes `bytes`; then a plugin's own that say they fit; a table
    of Arrow, pandas or polars is `parquet`; what comes back from JSON exactly is `json`; all else, and what these
    cannot hold after all, is `pickle`. A plugin's own is asked before any of these where it fits.
    """

    def __init__(self, own: Iterable[IOManager] = (), stores: Iterable[ValueStore] = ()) -> None:
        self._own = tuple(own)
        self._known: dict[str, IOManager] = {one.name: one for one in (*_built_in(), *self._own)}
        self._stores = {one.name: one for one in stores}

    @property
    def names(self) -> tuple[str, ...]:
        """What `io=` may be."""
        return (*self._known, *(name for name in _LATER if name not in self._known), *self._stores)

    def problem(self, io: str) -> tuple[str, str] | None:
        """What is wrong with `io=`, and the remedy; None where nothing is."""
        place, _, name = io.rpartition(":")
        if io in self._stores:
            return None
        if place and place not in self._stores:
            return f"there is no store {place!r}", _S3_HINT if place == "s3" else nearest_hint(place, self._stores)
        if name == "parquet" and find_spec("pyarrow") is None:
            return "io='parquet' needs pyarrow, which is not installed", 'pip install "freshet[parquet]"'
        if name in self._known or name in _LATER:
            return None
        said = f"there is no I/O manager {name!r}"
        return said, _S3_HINT if name == "s3" else nearest_hint(name, [] if place else self.names)

    def modules(self, named: Iterable[str], *, tables: bool) -> Iterator[str]:
        """What workers will import, if assets name these as `io`; `tables`: some may return tables."""
        if tables or any(io.rpartition(":")[2] == "parquet" for io in named):
            # pyarrow looks for pandas when it first makes an array: half a second in each worker.
            yield from ("freshet.io.parquet", "pyarrow.parquet", "pandas")
        for one in self._stores.values():
            yield from one.needs

    def store(self, place: str) -> ValueStore:
        """The store of that name. Raises `ValueFormatError`."""
        found = self._stores.get(place)
        if found is None:
            raise ValueFormatError(
                f"there is no store {place!r}", hint=_S3_HINT if place == "s3" else nearest_hint(place, self._stores)
            )
        return found

    def encode(self, value: Any, io: str | None) -> tuple[str, str, bytes]:
        """The name of the store (empty: the state folder), that of the manager, and the value as bytes. Raises
        `ValueFormatError`."""
        if io is None:
            return "", *self._chosen(value)
        if io in self._stores:
            return io, *self._chosen(value)
        place, _, name = io.rpartition(":")
        return place, name, self._bytes(name, value)

    def decode(self, name: str, data: bytes, wanted: Any) -> Any:
        """The value again, by the manager of that name. Raises `ValueFormatError`."""
        try:
            return self._manager(name).loads(data, wanted)
        except ValueFormatError:
            raise
        except Exception as error:  # a plugin's own manager may raise anything
            raise ValueFormatError(
                f"io={name!r} cannot read it: {type(error).__name__}: {error}", hint="materialize its asset again"
            ) from error

    def _chosen(self, value: Any) -> tuple[str, bytes]:
        for one in self._own:
            if one.fits(value):
                return one.name, self._bytes(one.name, value)
        kind = _type(value)
        name = _BY_TYPE.get(kind)
        if name is None and kind not in _JSON and kind.__module__.partition(".")[0] in _TABLES:
            name = "parquet" if self._manager("parquet").fits(value) else "pickle"
        if name is None:
            data = json.try_dumps(value)
            return ("pickle", self._bytes("pickle", value)) if data is None else ("json", data)
        try:
            return name, self._bytes(name, value)
        except ValueFormatError:
            if name == "pickle":
                raise
            return "pickle", self._bytes("pickle", value)

    def _bytes(self, name: str, value: Any) -> bytes:
        data: Any = self._manager(name).dumps(value)
        if not isinstance(data, bytes):
            raise ValueFormatError(
                f"the I/O manager {name!r} gave {type(data).__name__} in place of bytes",
                hint="let its dumps(value) return bytes",
            )
        return data

    def _manager(self, name: str) -> IOManager:
        found = self._known.get(name)
        if found is None and name in _LATER:
            module, called = _LATER[name]
            found = self._known[name] = getattr(import_module(module), called)()
        if found is None:
            raise ValueFormatError(f"there is no I/O manager {name!r}", hint=nearest_hint(name, self.names))
        return found


def _type(value: object) -> type[object]:
    return type(value)


def _built_in() -> Iterator[IOManager]:
    yield from (Json(), Pickle(), Text(), Bytes(), Nothing())


BUILT_IN = Managers()
"""Without a plugin's own."""
