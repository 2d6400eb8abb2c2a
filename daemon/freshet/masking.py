"""Secrets that this process has read are shown as `**********`: in its log, in journals, errors and reports.

Only what has been read here is known here. A secret of less than four characters is not looked for: it would be found
everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["MASK", "conceal", "masked", "masked_bytes", "masked_data"]

MASK = "**********"
_SHORTEST = 4
_read: set[str | bytes] = set()
_known: set[str] = set()
_pattern: re.Pattern[str] | None = None
_byte_pattern: re.Pattern[bytes] | None = None


def conceal(secret: str | bytes) -> None:
    """From now on, show this as stars. Of several lines, each."""
    global _pattern, _byte_pattern
    if secret in _read:
        return
    _read.add(secret)
    text = secret.decode("utf-8", "backslashreplace") if isinstance(secret, bytes) else secret
    lines = {line for line in (text, *text.splitlines()) if len(line) >= _SHORTEST}
    ways = (True, False)
    forms = lines | {json.dumps(line, ensure_ascii=way)[1:-1] for line in lines for way in ways}
    if forms <= _known:
        return
    _known.update(forms)
    longest_first = sorted(_known, key=len, reverse=True)
    _pattern = re.compile("|".join(map(re.escape, longest_first)))
    _byte_pattern = re.compile(b"|".join(re.escape(one.encode("utf-8", "replace")) for one in longest_first))


def masked(text: str) -> str:
    """`text` with stars for what is concealed."""
    return text if _pattern is None else _pattern.sub(MASK, text)


def masked_bytes(data: bytes) -> bytes:
    """The same of UTF-8."""
    return data if _byte_pattern is None else _byte_pattern.sub(MASK.encode(), data)


def masked_data(value: Any) -> Any:
    """The same of plain data: in each text of it."""
    if _pattern is None:
        return value
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {masked_data(key): masked_data(one) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType]  # plain data
    if isinstance(value, list | tuple):
        return [masked_data(one) for one in value]  # pyright: ignore[reportUnknownVariableType]  # plain data
    return value
