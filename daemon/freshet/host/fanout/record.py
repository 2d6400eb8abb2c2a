"""What is kept of a `ctx.map` in the run's folder: `items-POSITION-STEP-CALL.jsonl`, one JSON object a line, appended.

    {"map": "fetch", "total": 3, "attempt": 1, "t": 1767225600.1}       an attempt of the step begins
    {"i": 0, "n": 1, "b": 1767225600.2}                                 an attempt at item 0 begins
    {"i": 0, "n": 1, "t": ..., "d": 0.01, "k": "9f...", "v": [1, 2]}    it succeeded with this value
    {"i": 1, "n": 1, "t": ..., "d": 0.01, "k": "1c...", "ref": {...}}   and this one with a value in a file
    {"i": 2, "n": 1, "t": ..., "error": {...}, "again": 1767225601.2}   it failed; `again`: when it is tried again
    {"i": 2, "n": 1, "t": ..., "error": {...}, "canceled": true}        it was ended by hand
    {"i": 0, "n": 0, "t": ..., "k": "9f...", "v": [1, 2]}               it had been made before
    {"i": 0, "n": 0, "t": ..., "cached": 7, "k": "9f...", "v": [1, 2]}  by that run, and is taken again: `cache=`

`k` is a digest of the function's code and the item: what succeeded in one attempt of the step is not done again in the
next, nor in a run that retries this one, however the items stand then. `in`, beside `ref`: the run in whose folder it
lies, if that is another. `http/api/items.py` reads it for who looks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from freshet.definitions.code import code_version
from freshet.io import json
from freshet.io.registry import ValueRef

__all__ = ["Kept", "MapRecord", "found_before", "item_key", "retried"]

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_NAME = "items-{position}-{step}-{call}.jsonl"


def item_key(function: Callable[..., Any]) -> Callable[[Any], str | None]:
    """Gives an item's digest; None for one that JSON cannot hold, which is never known again."""
    code = code_version(function).encode()

    def key(item: Any) -> str | None:
        data = json.try_dumps(item)
        return None if data is None else blake2b(data, digest_size=12, key=code).hexdigest()

    return key


class MapRecord:
    """Appends to the file of one call. Lines are written when `flush` is called."""

    def __init__(self, folder: Path, position: int, step: str, call: int) -> None:
        self.path = folder / _NAME.format(position=position, step=step, call=call)
        self._lines: list[bytes] = []

    def add(self, line: dict[str, Any], value: bytes | None = None) -> None:
        """A line; `value` is JSON already."""
        text = orjson.dumps(line, default=repr)
        self._lines.append(text if value is None else text[:-1] + b',"v":' + value + b"}")

    def flush(self) -> None:
        """Write what was added. Where the disk cannot, the lines are lost: the results are not."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, _APPEND, 0o600)
            try:
                os.write(file, b"\n".join(lines) + b"\n")
            finally:
                os.close(file)


@dataclass(frozen=True, slots=True)
class Kept:
    """A result: as JSON, or the file that holds it in the folder of a run."""

    value: bytes | ValueRef
    run_id: int


def found_before(path: Path, run_id: int) -> dict[str, Kept]:
    """By key, what is kept at `path`, of the run with this number."""
    found: dict[str, Kept] = {}
    for line in _lines(path):
        if (key := line.get("k")) is not None:
            value = ValueRef(**line["ref"]) if "ref" in line else orjson.dumps(line["v"])
            found[key] = Kept(value, line.get("in", run_id))
    return found


def retried(folder: Path, step: str, call: int) -> Path | None:
    """The file of the same call in a run that is retried; None where it cannot be told, since the step is there for
    several partitions."""
    found = list(folder.glob(_NAME.format(position="*", step=step, call=call)))
    return found[0] if len(found) == 1 else None


def _lines(path: Path) -> Generator[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for text in data.split(b"\n"):
        try:
            yield orjson.loads(text)
        except orjson.JSONDecodeError:  # the last one, cut off; or what comes after a full disk
            continue
