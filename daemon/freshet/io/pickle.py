"""The I/O manager `pickle`: for values that JSON cannot hold. Written and read by workers only, never at a boundary."""

from __future__ import annotations

import copyreg
import io
import pickle
from types import MappingProxyType
from typing import Any

from freshet.errors import ValueFormatError

__all__ = ["dumps", "loads"]

_PROTOCOL = 5


def dumps(value: Any) -> bytes:
    """The value as a pickle. Raises `ValueFormatError` where it cannot be pickled."""
    try:
        written = io.BytesIO()
        pickler = pickle.Pickler(written, protocol=_PROTOCOL)
        table: dict[Any, Any] = {**copyreg.dispatch_table, MappingProxyType: _as_dict}
        pickler.dispatch_table = table
        pickler.dump(value)
        return written.getvalue()
    except Exception as error:  # the value's own __reduce__ may raise anything
        raise ValueFormatError(
            f"the value of type {type(value).__name__} cannot be pickled: {error}",
            hint="return plain data, or an object of a class at the top of its module",
        ) from error


def _as_dict(view: MappingProxyType[Any, Any]) -> Any:
    """What a step is given as a view, such as `ctx.partition.metadata`, comes back as the dict that it shows."""
    return dict, (dict(view),)


def loads(data: bytes) -> Any:
    """The value again. Raises `ValueFormatError` where its class is gone or does not take its old state."""
    try:
        return pickle.loads(data)  # noqa: S301  # a worker's own value: its digest has been checked
    except Exception as error:  # the class's own __setstate__ may raise anything
        raise ValueFormatError(
            f"a pickled value cannot be read back: {type(error).__name__}: {error}",
            hint="the class it was made of has changed or gone; materialize the upstream again",
        ) from error
