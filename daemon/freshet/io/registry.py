"""Where a value lies, which I/O manager keeps it, and whether what is read is what was written.

`values/ASSET/PARTITION/RUN-ATTEMPT.json`: each attempt writes a name of its own, and the commit of its result names the
valid one. So an attempt that fails, or one that nobody waits for any more, never harms the last good value.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from freshet.definitions.names import check_key, check_name, key_filename, nearest_hint
from freshet.errors import ValueFormatError
from freshet.io import json, pickle
from freshet.io.files import ensure_folder, write_durable

__all__ = ["IO_NAMES", "NO_PARTITION", "ValueRef", "read_value", "write_value"]

NO_PARTITION = "@"
"""The folder of a value without partition; no key's folder is called so, since `@` is percent-encoded there."""

_KEY_FILE = "key"


@dataclass(frozen=True, slots=True)
class ValueRef:
    """A kept value: `path` relative to `state_dir/values`, its I/O manager, bytes and hex BLAKE2b-128."""

    path: str
    io: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class _Manager:
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


_MANAGERS = {"json": _Manager(json.dumps, json.loads), "pickle": _Manager(pickle.dumps, pickle.loads)}

IO_NAMES = tuple(_MANAGERS)
"""The I/O managers there are."""


def write_value(
    value: Any, *, values_dir: Path, asset: str, partition_key: str | None, run_id: int, attempt: int, io: str | None
) -> ValueRef:
    """Keep `value` durably and say where. `io`: None chooses `json` where the value comes back exactly, else `pickle`.

    Raises `ValueFormatError` where the manager cannot hold the value, and `OSError` where the disk cannot.
    """
    name, data = _encode(value, io)
    check_name(asset, what="asset")
    key = None if partition_key is None else check_key(partition_key)
    place = f"{asset}/{NO_PARTITION if key is None else key_filename(key)}"
    folder = f"{values_dir}/{place}"
    ensure_folder(folder, top=str(values_dir))
    if key is not None:
        _keep_long_key(folder, key)
    file = f"{run_id}-{attempt}.{name}"
    write_durable(folder, file, data)
    return ValueRef(path=f"{place}/{file}", io=name, size=len(data), digest=_digest(data))


def read_value(values_dir: Path, ref: ValueRef) -> Any:
    """The value at `ref`. Raises `ValueFormatError` where it is gone, or is not what was written."""
    manager = _manager(ref.io)
    try:
        data = (values_dir / ref.path).read_bytes()
    except FileNotFoundError as error:
        raise ValueFormatError(f"the value {ref.path} is gone", hint="materialize its asset again") from error
    if len(data) != ref.size:
        raise ValueFormatError(
            f"the value {ref.path} has {len(data)} bytes; {ref.size} were written", hint="materialize its asset again"
        )
    if (found := _digest(data)) != ref.digest:
        raise ValueFormatError(
            f"the value {ref.path} is damaged: its digest is {found}, {ref.digest} was written",
            hint="check the disk, then materialize its asset again",
        )
    try:
        return manager.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueFormatError(
            f"the value {ref.path} is no JSON: {error}", hint="materialize its asset again"
        ) from error


def _encode(value: Any, io: str | None) -> tuple[str, bytes]:
    if io is not None:
        return io, _manager(io).dumps(value)
    data = json.try_dumps(value)
    return ("pickle", pickle.dumps(value)) if data is None else ("json", data)


def _manager(io: str) -> _Manager:
    try:
        return _MANAGERS[io]
    except KeyError:
        raise ValueFormatError(f"there is no I/O manager {io!r}", hint=nearest_hint(io, _MANAGERS)) from None


def _keep_long_key(folder: str, key: str) -> None:
    """Where the folder's name is too short to tell the key, the key lies in it."""
    if not folder.endswith(f"/{quote(key, safe='')}") and not os.path.exists(f"{folder}/{_KEY_FILE}"):  # noqa: PTH110
        write_durable(folder, _KEY_FILE, key.encode())


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
