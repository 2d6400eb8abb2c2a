"""A query with `:cursor` in it, for the driver that runs it: which rows are meant, and how the value is handed over."""

from __future__ import annotations

import re
from typing import Any, Literal

from freshet import DefinitionError

__all__ = ["STYLES", "From", "Query"]

From = Literal["start", "after", "at"]
"""All rows; those after the value (as the query has it); those at the value too."""

STYLES = ("qmark", "format", "pyformat", "named", "numeric", "numeric_dollar")

_SHOWN = "SELECT * FROM orders WHERE id > :cursor ORDER BY id LIMIT 1000"
_TOKEN = re.compile(
    r"""(?P<opaque>'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|::)"""
    r"|(?P<operator>[<>=!]*)\s*(?<![\w:]):(?P<name>[A-Za-z_]\w*)",
    re.DOTALL,
)
_LIMIT = re.compile(r"\blimit\s+(?P<count>\S+)(?P<rest>.*)", re.DOTALL | re.IGNORECASE)
_FIRST = re.compile(r"\b(?:fetch\s+(?:first|next)|select\s+top)\s*\(?\s*(?P<count>\w+)", re.IGNORECASE)


class Query:
    """`text` compares a column with `:cursor` by `>` or `>=`, and orders by it. Raises `DefinitionError`.

    `limit`: the rows that one run of it brings at most, None where it has no limit.
    """

    def __init__(self, text: str, *, what: str) -> None:
        self._what = what
        self._parts: list[tuple[str, str | None]] = []
        """Text, and the operator before a `:cursor` that follows it."""
        at, code, before = 0, "", ""
        for token in _TOKEN.finditer(text):
            code += text[at : token.start()]
            before += text[at : token.start()]
            at = token.end()
            if token["opaque"] is not None:
                before += token[0]
                code += " '' "
                continue
            self._check_mark(token["name"], token["operator"])
            self._parts.append((before, token["operator"]))
            before = ""
        self._parts.append((before + text[at:], None))
        code += text[at:]
        self._check(code)
        self.limit = self._limit_of(code)

    def render(self, mode: From, style: str, value: Any) -> tuple[str, Any]:
        """The text for a driver of this DB-API `paramstyle`, and its parameters (None for none)."""
        sql, count = "", 0
        for text, operator in self._parts:
            sql += text.replace("%", "%%") if mode != "start" and "format" in style else text
            if operator is None:
                continue
            count += 1
            if mode == "start":
                sql += " IS NOT NULL"
            else:
                sql += f"{'>=' if mode == 'at' else operator} {_placeholder(style, count)}"
        if mode == "start":
            return sql, None
        return sql, {"cursor": value} if style in ("named", "pyformat") else (value,) * count

    def _check_mark(self, name: str, operator: str) -> None:
        if name != "cursor":
            raise self._wrong(f"has the parameter :{name}", "write its value; only :cursor is filled in")
        if operator not in (">", ">="):
            raise self._wrong("does not compare by > :cursor or >= :cursor", f"for example {_SHOWN}")

    def _check(self, code: str) -> None:
        if len(self._parts) == 1:
            raise self._wrong("has no :cursor, and would bring every row at each look", f"for example {_SHOWN}")
        if not re.match(r"\s*(select|with)\b", code, re.IGNORECASE):
            raise self._wrong("is no SELECT", f"a sensor only reads; for example {_SHOWN}")
        if not re.search(r"\border\s+by\b", _outermost(code), re.IGNORECASE):
            raise self._wrong("has no ORDER BY, and the last row would not be the furthest", f"for example {_SHOWN}")

    def _limit_of(self, code: str) -> int | None:
        outer = _outermost(code)
        found = _FIRST.search(outer) or _FIRST.search(code) or _LIMIT.search(outer)
        if found is None:
            return None
        rest = found.groupdict().get("rest") or ""
        count = found["count"].rstrip(";")
        if not count.isdecimal() or int(count) < 2 or rest.strip(" \n\t;"):
            raise self._wrong(f"ends in {found[0].strip()!r}", "write LIMIT and a number, at least 2: LIMIT 1000")
        return int(count)

    def _wrong(self, reason: str, hint: str) -> DefinitionError:
        return DefinitionError(f"{self._what} {reason}", hint=hint)


def _outermost(code: str) -> str:
    """What stands in no parentheses."""
    before = ""
    while before != code:
        before, code = code, re.sub(r"\([^()]*\)", " ", code)
    return code


def _placeholder(style: str, number: int) -> str:
    match style:
        case "qmark":
            return "?"
        case "format":
            return "%s"
        case "pyformat":
            return "%(cursor)s"
        case "named":
            return ":cursor"
        case "numeric":
            return f":{number}"
        case _:
            return f"${number}"
