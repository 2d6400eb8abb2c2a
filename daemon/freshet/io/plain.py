"""The I/O managers `text`, `bytes` and `none`, and `json` and `pickle` as managers."""

from __future__ import annotations

from typing import Any, TypeGuard

import orjson

from freshet.definitions.io_manager import IOManager
from freshet.errors import ValueFormatError
from freshet.io import json, pickle

__all__ = ["Bytes", "Json", "Nothing", "Pickle", "Text"]


class Json(IOManager):
    """Values that come back from JSON exactly as they went in."""

    name = "json"

    def dumps(self, value: Any) -> bytes:
        """See `json.dumps`."""
        return json.dumps(value)

    def loads(self, data: bytes, wanted: Any) -> Any:
        """The value again."""
        try:
            return json.loads(data)
        except orjson.JSONDecodeError as error:
            raise ValueFormatError(f"it is no JSON: {error}", hint="materialize its asset again") from error


class Pickle(IOManager):
    """Anything that can be pickled."""

    name = "pickle"

    def dumps(self, value: Any) -> bytes:
        """See `pickle.dumps`."""
        return pickle.dumps(value)

    def loads(self, data: bytes, wanted: Any) -> Any:
        """The value again."""
        return pickle.loads(data)


class Text(IOManager):
    """A str, as UTF-8; line ends stay as they are."""

    name = "text"

    def dumps(self, value: Any) -> bytes:
        """Raises `ValueFormatError` for anything but a str, and for what UTF-8 cannot hold."""
        if not isinstance(value, str):
            raise _unfit(self.name, value, "str")
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise ValueFormatError(
                f"the value does not fit io='text': {error.reason}, at character {error.start}",
                hint="keep it as bytes, or use io='pickle'",
            ) from None

    def loads(self, data: bytes, wanted: Any) -> str:
        """The text again."""
        return data.decode()


class Bytes(IOManager):
    """Bytes as they are; a bytearray or memoryview comes back as bytes."""

    name = "bytes"

    def dumps(self, value: Any) -> bytes:
        """Raises `ValueFormatError` for anything else."""
        if not _is_like_bytes(value):
            raise _unfit(self.name, value, "bytes")
        return bytes(value)

    def loads(self, data: bytes, wanted: Any) -> bytes:
        """The bytes again."""
        return data


class Nothing(IOManager):
    """Nothing is kept: the function keeps its data elsewhere. Those that take its value get None."""

    name = "none"

    def dumps(self, value: Any) -> bytes:
        """Raises `ValueFormatError` for anything but None, which would be lost."""
        if value is not None:
            raise _unfit(self.name, value, "None")
        return b""

    def loads(self, data: bytes, wanted: Any) -> None:
        """None."""
        return


def _is_like_bytes(value: object) -> TypeGuard[bytes | bytearray | memoryview[int]]:
    return isinstance(value, bytes | bytearray | memoryview)


def _unfit(io: str, value: object, fitting: str) -> ValueFormatError:
    return ValueFormatError(
        f"the value does not fit io={io!r}: it is of type {type(value).__name__}, not {fitting}",
        hint=f"return {fitting}, or name another io, or none and it is chosen by the value",
    )
