"""Results of items that are taken again by later runs: `ctx.map(..., cache="1d")`.

A file for each, named by the digest of the function and the item, in a folder of the step:

    {"at": 1767225600.1, "run": 7, "v": [1, 2]}       its work began then, in that run
    {"at": 1767225600.1, "run": 7, "ref": {...}}      the value lies in that run's folder: without it, it is forgotten

Whoever clears the cache takes the folder away: what is under way then keeps nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from freshet.definitions.cache import CacheSpec
from freshet.definitions.code import code_version
from freshet.host.fanout.record import Kept
from freshet.io import json
from freshet.io.registry import ValueRef

__all__ = ["ItemCache"]

_FOLDER = "cache"
"""Among those of runs; `http/api/items.py` takes it away for who clears it."""
_KEPT = 100_000
"""So many results of a step are known, the latest."""


class ItemCache:
    """Of one call. `now`: what the function has made too long ago by the rule is swept away first, and so are the
    oldest of too many."""

    def __init__(self, runs: Path, step: str, function: Callable[..., Any], rule: CacheSpec, now: float) -> None:
        self._folder = runs / _FOLDER / step
        self._since = -1.0 if rule.ttl is None else now - rule.ttl
        name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        said = [name, code_version(function) if rule.code else None]
        self._salt = blake2b(orjson.dumps(said), digest_size=32).digest()
        self._prefix = blake2b(self._salt, digest_size=6).hexdigest() + "-"
        self._known: set[str] = set()
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._known = _swept(self._folder, self._prefix, self._since)

    def key(self, item: Any) -> str | None:
        """The item's digest; None for one that JSON cannot hold, which is never known again."""
        data = json.try_dumps(item)
        return None if data is None else self._prefix + blake2b(data, digest_size=16, key=self._salt).hexdigest()

    def find(self, item: Any) -> Kept | None:
        """What was made of the item, unless that is too long ago, or cannot be read."""
        key = self.key(item) if self._known else None
        if key is None or key not in self._known:
            return None
        try:
            told = orjson.loads((self._folder / key).read_bytes())
            if told["at"] <= self._since:
                return None
            value = ValueRef(**told["ref"]) if "ref" in told else orjson.dumps(told["v"])
            return Kept(value, int(told["run"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, item: Any, made: Kept, began: float) -> None:
        """It may be taken again. Where the disk cannot, or the cache was cleared meanwhile, it is not kept."""
        key = self.key(item)
        if key is None:
            return
        head = orjson.dumps({"at": began, "run": made.run_id})[:-1]
        value = made.value
        tail = b',"v":' + value if isinstance(value, bytes) else b',"ref":' + orjson.dumps(asdict(value))
        part = self._folder / f".{key}.{os.getpid()}"
        with contextlib.suppress(OSError):
            part.write_bytes(head + tail + b"}")
            part.replace(self._folder / key)


def _swept(folder: Path, prefix: str, since: float) -> set[str]:
    """The names of what remains. What is being written has a name that begins with a dot."""
    with os.scandir(folder) as entries:
        found = sorted((one.stat().st_mtime, one.name) for one in entries if not one.name.startswith("."))
    gone = {name for at, name in found if at <= since and name.startswith(prefix)}
    gone.update(name for _, name in found[:-_KEPT])
    for name in gone:
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    return {name for _, name in found} - gone
