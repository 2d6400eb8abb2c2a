"""What may be called what: names of definitions and partition keys.

A partition key comes from the outside (a file name, a payload), so its rule is checked at every door.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from freshet.definitions.expect import expect
from freshet.errors import DefinitionError, InvalidName, PartitionKeyError

__all__ = [
    "KEY_MAX_CHARS",
    "PRIORITY_MAX",
    "VERSION_MAX_CHARS",
    "check_key",
    "check_name",
    "check_priority",
    "check_version",
    "key_filename",
    "nearest_hint",
]

KEY_MAX_CHARS = 200
VERSION_MAX_CHARS = 64
PRIORITY_MAX = 2**31 - 1
"""Priorities lie within this of 0, so that their sums fit wherever they are kept."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TITLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_FILENAME_MAX_BYTES = 200


def check_name(name: str, *, what: str, identifier: bool = True) -> str:
    """Return `name`, or raise `InvalidName`.

    Assets and jobs are identifiers because a parameter's name refers to them; sensors, schedules and
    partition sets may also hold `-` and `.`. Up to 100 characters.
    """
    expect(name, (str,), f"{what}: the name")
    pattern = _NAME if identifier else _TITLE
    if len(name) > 100 or not pattern.fullmatch(name):
        raise InvalidName(
            f"{what}: {name[:120]!r} is not a name",
            hint=f"use {pattern.pattern}, up to 100 characters",
        )
    return name


def check_version(version: object, *, what: str) -> str:
    """Return `version`, of code or of data, or raise `InvalidName`: 1 to 64 printable characters."""
    if not isinstance(version, str):
        raise InvalidName(f"{what} takes a text, not {version!r:.60}", hint=f'for example "{version!s:.60}"')
    if not 0 < len(version) <= VERSION_MAX_CHARS or not version.isprintable():
        raise InvalidName(
            f"{what}: {version[:70]!r} is not a version",
            hint=f"use 1 to {VERSION_MAX_CHARS} printable characters: a number, a date, an ETag, a digest",
        )
    return version


def check_key(key: str) -> str:
    """Return `key` in Unicode NFC, or raise `PartitionKeyError`.

    A key has 1 to 200 characters, none of them a control character or a lone surrogate, and does not
    begin with a dot.
    """
    plain = key.isascii() and key.isprintable()  # nearly every key: nothing to normalize, no control character
    normal = key if plain else unicodedata.normalize("NFC", key)
    if not normal:
        raise PartitionKeyError("a partition key is empty", hint="give each partition a text of 1 to 200 characters")
    if len(normal) > KEY_MAX_CHARS:
        raise PartitionKeyError(
            f"the partition key {normal[:40]!r}... has {len(normal)} characters", hint="the limit is 200"
        )
    if normal.startswith("."):
        raise PartitionKeyError(
            f"the partition key {normal!r} begins with a dot", hint='put something before it, say "x"'
        )
    for char in () if plain else normal:
        if unicodedata.category(char) in ("Cc", "Cs"):
            raise PartitionKeyError(
                f"the partition key {normal!r} holds the control character {char!r}", hint="remove it from the source"
            )
    return normal


def key_filename(key: str) -> str:
    """The folder name under which a partition's values lie.

    Percent-encoded. Above 200 bytes: the first 160, and 32 hex digits of the SHA-256 of the key.
    """
    name = quote(key, safe="")
    if len(name) <= _FILENAME_MAX_BYTES:
        return name
    return f"{name[:160]}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def check_priority(priority: Any, *, what: str) -> int:
    """Return `priority`, or raise `DefinitionError`."""
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > PRIORITY_MAX:
        said = f"{what}: expected a whole number within {PRIORITY_MAX:,} of 0, found {priority!r}"
        raise DefinitionError(said, hint="0 is the default; higher goes first")
    return priority


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """`did you mean 'orders'?`, or the first few known names, or an empty text where there are none."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if not names:
        return ""
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"known are: {listed}"
