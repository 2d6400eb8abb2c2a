"""Partition keys as they stream in: one a line, as text or as NDJSON. Pure; a step takes some milliseconds."""

from __future__ import annotations

from typing import Any, Literal, cast

import orjson

from freshet.definitions.names import KEY_MAX_CHARS, check_key
from freshet.definitions.outcome import Json
from freshet.errors import FreshetError, PartitionKeyError, ValueFormatError

__all__ = ["KeyLines"]

LINE_MAX = 1 << 20
"""Bytes of one line, its metadata included."""
_NOTHING: dict[str, Json] = {}
_UNCHANGED = "nothing of the request holds; mend the line and send all of it again"

Pair = tuple[str, dict[str, Json]]


class KeyLines:
    """Takes the bytes of a body as they come, and gives the keys of the lines that are whole.

    `text`: a key a line. `ndjson`: a line is a JSON string, or an object with `key` and (optional) `metadata`. Empty
    lines are passed over.
    """

    def __init__(self, form: Literal["text", "ndjson"]) -> None:
        self._form = form
        self._rest = b""
        self._line = 0

    def feed(self, data: bytes) -> list[Pair]:
        """More of the body. Raises `PartitionKeyError` or `ValueFormatError` naming the first line that is wrong."""
        whole, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._rest += data
        else:
            whole, self._rest = self._rest + whole, rest
        if len(self._rest) > LINE_MAX:
            raise ValueFormatError(f"line {self._line + 1} is longer than {LINE_MAX} bytes", hint=_UNCHANGED)
        return self._take(whole.split(b"\n")) if newline else []

    def end(self) -> list[Pair]:
        """The last line, where no newline ends it."""
        rest, self._rest = self._rest, b""
        return self._take([rest]) if rest else []

    def _take(self, lines: list[bytes]) -> list[Pair]:
        first, self._line = self._line + 1, self._line + len(lines)
        found = _plain_text(lines) if self._form == "text" else _plain_json(lines)
        if found is not None:
            return [(key, _NOTHING) for key in found]
        read = _from_text if self._form == "text" else _from_json
        pairs: list[Pair] = []
        for number, line in enumerate(lines, first):
            bare = line.strip(b"\r")
            if not bare:
                continue
            try:
                pairs.append(read(bare))
            except (FreshetError, ValueError) as error:
                kind = type(error) if isinstance(error, FreshetError) else ValueFormatError
                hint = error.hint if isinstance(error, FreshetError) else ""
                said = error.message if isinstance(error, FreshetError) else str(error)
                raise kind(f"line {number}: {said}", hint=f"{hint}; {_UNCHANGED}" if hint else _UNCHANGED) from None
        return pairs


def _plain_text(lines: list[bytes]) -> list[str] | None:
    """The keys where all of them are plain, found by a few passes in C; None where each must be looked at."""
    try:
        text = b"\n".join(lines).decode("ascii")
    except UnicodeDecodeError:
        return None
    return _if_plain(text.split("\n"))


def _plain_json(lines: list[bytes]) -> list[str] | None:
    try:
        keys = [orjson.loads(line) for line in lines]
        return _if_plain(keys)
    except (orjson.JSONDecodeError, TypeError):
        return None


def _if_plain(keys: list[str]) -> list[str] | None:
    """`keys` where `check_key` would return each as it is. Raises `TypeError` for what is no text."""
    text = "".join(keys)
    if not (text.isascii() and text.isprintable() and "\n." not in "\n" + "\n".join(keys)):
        return None
    return keys if min(map(len, keys)) > 0 and max(map(len, keys)) <= KEY_MAX_CHARS else None


def _from_text(line: bytes) -> Pair:
    try:
        return check_key(line.decode()), _NOTHING
    except UnicodeDecodeError as error:
        raise PartitionKeyError(f"the key is not UTF-8 ({error.reason})", hint="save the keys as UTF-8") from None


def _from_json(line: bytes) -> Pair:
    found: Any = orjson.loads(line)
    if isinstance(found, str):
        return check_key(found), _NOTHING
    parts = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    key: Any = parts.get("key")
    metadata: Any = parts.get("metadata", {})
    if not (isinstance(key, str) and isinstance(metadata, dict) and parts.keys() <= {"key", "metadata"}):
        raise ValueFormatError("this is no key", hint='write "KEY" or {"key": "KEY", "metadata": {...}}')
    return check_key(key), cast("dict[str, Json]", metadata)
