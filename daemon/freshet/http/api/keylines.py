"""Partition keys as they stream in: one a line, as text or as NDJSON. Pure; a step takes some milliseconds."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal, cast

import orjson

from freshet.definitions.names import KEY_MAX_CHARS, check_key
from freshet.definitions.outcome import Json
from freshet.errors import FreshetError, PartitionKeyError, ValueFormatError
from freshet.store.records import BareKeys, Pair

__all__ = ["KeyLines"]

LINE_MAX = 1 << 20
"""Bytes of one line, its metadata included."""
_NOTHING: dict[str, Json] = {}
_UNCHANGED = "nothing of the request holds; mend the line and send all of it again"
_CONTROLS = bytes([*range(0x0A), *range(0x0B, 0x20), 0x7F])
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class KeyLines:
    """Takes the bytes of a body as they come, and gives the keys of the lines that are whole.

    `text`: a key a line. `ndjson`: a line is a JSON string, or an object with `key` and (optional) `metadata`. Empty
    lines are passed over.
    """

    def __init__(self, form: Literal["text", "ndjson"]) -> None:
        self._form = form
        self._rest = b""
        self._line = 0

    def feed(self, data: bytes) -> Sequence[Pair]:
        """More of the body. Raises `PartitionKeyError` or `ValueFormatError` naming the first line that is wrong."""
        whole, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._rest += data
        else:
            whole, self._rest = self._rest + whole, rest
        if len(self._rest) > LINE_MAX:
            raise ValueFormatError(f"line {self._line + 1} is longer than {LINE_MAX} bytes", hint=_UNCHANGED)
        return self._take(whole) if newline else ()

    def end(self) -> Sequence[Pair]:
        """The last line, where no newline ends it."""
        rest, self._rest = self._rest, b""
        return self._take(rest) if rest else ()

    def _take(self, whole: bytes) -> Sequence[Pair]:
        """The keys of lines, the last without its newline."""
        first, self._line = self._line + 1, self._line + whole.count(b"\n") + 1
        lines = whole.replace(b"\r\n", b"\n").removesuffix(b"\r")
        texts = lines if self._form == "text" else _unquoted(lines)
        keys = None if texts is None else _plain(texts)
        if keys is not None:
            return BareKeys(tuple(keys))
        read = _from_text if self._form == "text" else _from_json
        pairs: list[Pair] = []
        for number, line in enumerate(whole.split(b"\n"), first):
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


def _unquoted(lines: bytes) -> bytes | None:
    """The texts of lines that each are a JSON string without escapes; None where one may be anything else."""
    newlines = lines.count(b"\n")
    if lines.count(b'"') != 2 * newlines + 2 or lines.count(b'"\n"') != newlines or b"\\" in lines:
        return None
    return lines[1:-1].replace(b'"\n"', b"\n") if lines.startswith(b'"') and lines.endswith(b'"') else None


def _plain(lines: bytes) -> list[str] | None:
    """The keys where `check_key` would return each as it is, found by a few passes in C; None where each line must be
    looked at."""
    try:
        text = lines.decode()
    except UnicodeDecodeError:
        return None
    if text.isascii():
        if len(lines.translate(None, _CONTROLS)) < len(lines):
            return None
    elif _CONTROL.search(text) or not unicodedata.is_normalized("NFC", text):
        return None
    framed = f"\n{text}\n"
    if "\n\n" in framed or "\n." in framed:
        return None
    keys = text.split("\n")
    return keys if max(map(len, keys)) <= KEY_MAX_CHARS else None


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
