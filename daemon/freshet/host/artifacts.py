"""What a step shows to people: texts, tables, pictures and links, kept in the run's folder.

`runs/ID/artifacts/` holds the contents, `runs/ID/artifacts/index.jsonl` a line for each:

    {"t": 1767225600.25, "step": "sales", "attempt": 1, "name": "report", "kind": "markdown", "file": "0-1-1.md",
     "media": "text/markdown", "size": 812}

A link has `href` instead of `file`, `media` and `size`. A table is kept as JSON: `columns`, `rows` and `more`, how many
further rows it had.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import orjson

__all__ = ["ARTIFACTS_MAX", "ARTIFACT_MAX", "ROWS_MAX", "Artifacts", "Image", "Table"]

Table = Iterable[Mapping[str, Any]]
"""Rows as dicts by column. A pandas or polars frame will do, too."""
Image = bytes | str | Path
"""A picture (PNG, JPEG, GIF, WebP or SVG), or the path of one. A matplotlib figure will do, too."""

ARTIFACT_MAX = 16 * 2**20
"""Bytes of one artifact."""
ARTIFACTS_MAX = 1_000
"""Artifacts of one attempt of a step."""
ROWS_MAX = 10_000
"""Rows of a table that are kept."""
_NAME_MAX = 100
_HREF = re.compile(r"(?!(?:javascript|data|vbscript):)[a-z][a-z0-9+.-]*:\S{1,4000}", re.IGNORECASE)
_INDEX = "index.jsonl"
_ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "image/svg+xml": "svg"}
_PLAIN = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class Artifacts:
    """Those of one attempt of a step. `folder`: the run's."""

    def __init__(self, folder: str, step: str, position: int, attempt: int) -> None:
        self._folder = f"{folder}/artifacts"
        self._step = step
        self._attempt = attempt
        self._prefix = f"{position}-{attempt}"
        self._numbers = itertools.count(1)

    def keep(
        self,
        at: float,
        name: str,
        *,
        markdown: str | None = None,
        table: Table | None = None,
        link: str | None = None,
        image: Image | None = None,
    ) -> dict[str, Any]:
        """Keep it, and return its line of the index without `t`, `step` and `attempt`.

        Raises `ValueError` and `TypeError` for what is none, and `OSError` where the disk cannot hold it.
        """
        _check_name(name)
        given = {"markdown": markdown, "table": table, "link": link, "image": image}
        kinds = [kind for kind, value in given.items() if value is not None]
        if len(kinds) != 1:
            said = f"got {' and '.join(kinds)}" if kinds else "got none"
            raise TypeError(f"ctx.artifact({name!r}): give one of markdown=, table=, link= and image=; {said}")
        number = next(self._numbers)
        if number > ARTIFACTS_MAX:
            raise ValueError(f"ctx.artifact({name!r}): an attempt keeps at most {ARTIFACTS_MAX:,} artifacts")
        told: dict[str, Any] = {"name": name, "kind": kinds[0]}
        if link is not None:
            told["href"] = _href(name, link)
        else:
            media, ending, data = _content(name, kinds[0], given[kinds[0]])
            if len(data) > ARTIFACT_MAX:
                raise ValueError(f"ctx.artifact({name!r}) has {len(data):,} bytes; the limit is {ARTIFACT_MAX:,}")
            file = f"{self._prefix}-{number}.{ending}"
            told |= {"file": file, "media": media, "size": len(data)}
            self._write(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, data)
        line = orjson.dumps({"t": at, "step": self._step, "attempt": self._attempt, **told}) + b"\n"
        self._write(_INDEX, os.O_WRONLY | os.O_CREAT | os.O_APPEND, line)
        return told

    def _write(self, file: str, flags: int, data: bytes) -> None:
        Path(self._folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(f"{self._folder}/{file}", flags | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb", buffering=0) as out:
            out.write(data)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_MAX or not name.isprintable():
        raise ValueError(f"ctx.artifact({name!r:.120}): a name has 1 to {_NAME_MAX} printable characters")


def _href(name: str, link: object) -> str:
    if not isinstance(link, str) or not _HREF.fullmatch(link):
        raise ValueError(f"ctx.artifact({name!r}, link={link!r:.120}): write it whole, as https://host/path")
    return link


def _content(name: str, kind: str, value: Any) -> tuple[str, str, bytes]:
    """Media type, file ending and bytes."""
    match kind:
        case "markdown":
            if not isinstance(value, str):
                raise TypeError(f"ctx.artifact({name!r}, markdown=) takes a text, not {value!r:.80}")
            return "text/markdown", "md", value.encode("utf-8", "backslashreplace")
        case "table":
            return "application/json", "json", _table(name, value)
        case _:
            return _image(name, value)


def _table(name: str, value: Any) -> bytes:
    rows = value
    if hasattr(value, "to_dicts"):  # polars
        rows = value.to_dicts()
    elif hasattr(value, "to_dict") and hasattr(value, "columns"):  # pandas
        rows = value.to_dict(orient="records")
    columns: dict[str, None] = {}
    kept: list[Mapping[str, Any]] = []
    more = 0
    for row in rows:
        if not isinstance(row, Mapping):
            raise TypeError(f"ctx.artifact({name!r}, table=) takes rows as dicts by column, not {row!r:.80}")
        if len(kept) == ROWS_MAX:
            more += 1
            continue
        found = cast("Mapping[str, Any]", row)
        columns.update(dict.fromkeys(map(str, found)))
        kept.append(found)
    cells: Sequence[Any] = [[row.get(column) for column in columns] for row in kept]
    return orjson.dumps({"columns": list(columns), "rows": cells, "more": more}, default=str, option=_PLAIN)


def _image(name: str, value: Any) -> tuple[str, str, bytes]:
    if hasattr(value, "savefig"):  # matplotlib
        drawn = BytesIO()
        value.savefig(drawn, format="png")
        data = drawn.getvalue()
    elif isinstance(value, str | Path):
        with Path(value).open("rb") as file:
            data = file.read(ARTIFACT_MAX + 1)
    else:
        data = bytes(value)
    media = _media(data)
    if media is None:
        raise ValueError(f"ctx.artifact({name!r}, image=): neither PNG, JPEG, GIF, WebP nor SVG: {data[:16]!r}")
    return media, _ENDINGS[media], data


def _media(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    begin = data[:1024].lstrip()
    return "image/svg+xml" if begin.startswith((b"<svg", b"<?xml", b"<!--")) and b"<svg" in data[:65536] else None
