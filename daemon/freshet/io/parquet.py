"""The I/O manager `parquet`: Arrow tables, and the frames of pandas and polars.

A frame comes back as what it was, or as what the parameter that takes it is annotated with. Needs pyarrow, which is
imported when a frame is written or read.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from freshet.definitions.io_manager import IOManager
from freshet.errors import ValueFormatError

__all__ = ["Parquet"]

_KIND = b"freshet.kind"
_FRAMES = {
    ("pyarrow", "Table"): "arrow",
    ("pyarrow", "RecordBatch"): "arrow",
    ("pandas", "DataFrame"): "pandas",
    ("polars", "DataFrame"): "polars",
    ("polars", "LazyFrame"): "polars lazy",
}


class Parquet(IOManager):
    """Tables of Arrow, pandas and polars."""

    name = "parquet"

    def fits(self, value: Any) -> bool:
        """Tables whose columns are named by texts: other names do not come back as they were."""
        kind = _kind(_type(value))
        return kind is not None and (kind != "pandas" or all(type(name) is str for name in value.columns))

    def dumps(self, value: Any) -> bytes:
        """Raises `ValueFormatError` for what is no table, and for a table that Parquet cannot hold."""
        kind = _kind(_type(value))
        if kind is None:
            raise ValueFormatError(
                f"the value does not fit io='parquet': it is of type {type(value).__name__}",
                hint="return a frame of pandas or polars, or a table of pyarrow: pyarrow.Table.from_pylist(rows)",
            )
        arrow, parquet = _libraries()
        try:
            table = _as_table(arrow, value, kind)
            table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KIND: kind.encode()})
            written = arrow.BufferOutputStream()
            parquet.write_table(table, written)
        except (arrow.ArrowException, ValueError, TypeError, NotImplementedError) as error:
            said = ", ".join(map(str, error.args))
            raise ValueFormatError(
                f"the {type(value).__name__} does not fit io='parquet': {said}",
                hint="give each column one type, or use io='pickle'",
            ) from error
        data: bytes = written.getvalue().to_pybytes()
        return data

    def loads(self, data: bytes, wanted: Any) -> Any:
        """The table again, of the kind that is wanted."""
        arrow, parquet = _libraries()
        try:
            table = parquet.read_table(arrow.BufferReader(data))
        except (arrow.ArrowException, OSError) as error:
            raise ValueFormatError(f"it is no Parquet: {error}", hint="materialize its asset again") from error
        told = dict(table.schema.metadata or {})
        kept = told.pop(_KIND, b"arrow").decode()
        table = table.replace_schema_metadata(told or None)
        asked = next((one for one in _classes(wanted) if _kind(one) is not None), object)
        match _kind(asked) or kept:
            case "pandas":
                return table.to_pandas()
            case "polars":
                return _polars().from_arrow(table)
            case "polars lazy":
                return _polars().from_arrow(table).lazy()
            case _:
                return _batch(table) if asked.__name__ == "RecordBatch" else table


def _classes(annotation: Any) -> Iterator[type[object]]:
    """What an annotation names, `None` and what goes with it left aside."""
    if get_origin(annotation) is Annotated:
        yield from _classes(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from _classes(one)
    elif isinstance(annotation, type):
        yield annotation


def _type(value: object) -> type[object]:
    return type(value)


def _kind(kind: type[object]) -> str | None:
    """By the names of the class and of those above it: nothing is imported to ask."""
    for one in kind.__mro__:
        found = _FRAMES.get((one.__module__.partition(".")[0], one.__name__))
        if found is not None:
            return found
    return None


def _as_table(arrow: Any, value: Any, kind: str) -> Any:
    match kind:
        case "pandas":
            return arrow.Table.from_pandas(value)
        case "polars":
            return value.to_arrow()
        case "polars lazy":
            return value.collect().to_arrow()
        case _:
            return value if isinstance(value, arrow.Table) else arrow.Table.from_batches([value])


def _batch(table: Any) -> Any:
    import pyarrow

    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pyarrow.RecordBatch.from_pylist([], schema=table.schema)


def _libraries() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ValueFormatError(
            "io='parquet' needs pyarrow, which is not installed", hint='pip install "freshet[parquet]"'
        ) from error
    return pyarrow, parquet


def _polars() -> Any:
    import importlib

    try:
        return importlib.import_module("polars")
    except ModuleNotFoundError as error:
        raise ValueFormatError(
            "a frame of polars is wanted, and polars is not installed", hint="pip install polars"
        ) from error
