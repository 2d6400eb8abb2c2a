"""Text on its way to a terminal: what came from files, payloads and plugins stays text."""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime
from typing import Any

from freshet.definitions.durations import format_duration
from freshet.definitions.frames import own_places

__all__ = ["age", "clock", "error_line", "error_text", "in_line", "place", "plain"]

_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What turns the order of characters around: a terminal would show another text than is there."""


def plain(text: str) -> str:
    """`text` with control characters written out (`\\x1b`), so that none reaches the terminal; lines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _harmless(char) else _written(char) for char in text)


def in_line(text: str) -> str:
    """`plain`, and in one line."""
    return plain(text).replace("\n", "\\n").replace("\t", "\\t")


def _harmless(char: str) -> bool:
    if char in "\n\t":
        return True
    return char not in _DIRECTION and unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")


def _written(char: str) -> str:
    return char.encode("ascii", "backslashreplace").decode() if ord(char) > 0x7F else f"\\x{ord(char):02x}"


def place(file: str | None, line: int | None) -> str:
    """`file:line: `, as far as known."""
    return "" if file is None else f"{file}:{line}: " if line else f"{file}: "


def age(at: float | None, now: float) -> str:
    """`"3m ago"`, `"in 5s"`, `"now"`, or a dash."""
    if at is None:
        return "-"
    passed = now - at
    if abs(passed) < 1:
        return "now"
    words = format_duration(round(abs(passed)))
    return f"{words} ago" if passed > 0 else f"in {words}"


def clock(at: float) -> str:
    """The time of day here, to the millisecond."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S.%f")[:-3]


def error_text(error: Any) -> str:
    """An error as the store keeps it (type, message, traceback; or any JSON) for a reader."""
    if hasattr(error, "items"):
        if error.get("traceback"):
            return str(error["traceback"]).rstrip()
        if "message" in error:
            return f"{error['type']}: {error['message']}" if error.get("type") else str(error["message"])
    return error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)


def error_line(error: Any, *, with_place: bool = False) -> str:
    """The same in a few words, without the traceback; `with_place`: with the plugin's line that raised it, where one
    did."""
    where = ""
    if hasattr(error, "items"):
        frames = own_places(str(error.get("traceback") or "")) if with_place else ()
        where = place(*frames[-1]) if frames else ""
        error = {key: value for key, value in error.items() if key != "traceback"}
    return in_line(where + error_text(error))
