"""Where a value lies, which I/O manager keeps it, and whether what is read is what was written.

`values/ASSET/PARTITION/RUN-ATTEMPT.json`: each attempt writes a name of its own, and the commit of its result names the
valid one. So an attempt that fails, or one that nobody waits for any more, never harms the last good value.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from freshet.definitions.names import check_key, check_name, key_filename
from freshet.errors import ValueFormatError
from freshet.io.files import ensure_folder, write_durable
from freshet.io.managers import BUILT_IN, Managers

__all__ = ["NO_PARTITION", "ValueRef", "read_value", "write_value"]

NO_PARTITION = "@"
"""The folder of a value without partition; no key's folder is called so, since `@` is percent-encoded there."""

_KEY_FILE = "key"
_AGAIN = "materialize its asset again"


@dataclass(frozen=True, slots=True)
class ValueRef:
    """A kept value: `path` relative to `state_dir/values` or to the store's prefix, its I/O manager (`STORE:MANAGER` in
    a store), bytes and hex BLAKE2b-128. Of `none`, the path is empty; the digest is the version of the data where the
    function said one, else names run and attempt."""

    path: str
    io: str
    size: int
    digest: str


def write_value(
    value: Any,
    *,
    values_dir: Path,
    asset: str,
    partition_key: str | None,
    run_id: int,
    attempt: int,
    io: str | None,
    managers: Managers = BUILT_IN,
) -> ValueRef:
    """Keep `value` durably and say where. `io`: None chooses the manager by the value, see `Managers`.

    Raises `ValueFormatError` where the manager cannot hold the value, and `OSError` where the disk cannot.
    """
    store, name, data = managers.encode(value, io)
    if name == "none":
        return ValueRef(path="", io=name, size=0, digest=f"{run_id}-{attempt}")
    check_name(asset, what="asset")
    key = None if partition_key is None else check_key(partition_key)
    place, file = f"{asset}/{NO_PARTITION if key is None else key_filename(key)}", f"{run_id}-{attempt}.{name}"
    ref = ValueRef(f"{place}/{file}", f"{store}:{name}" if store else name, len(data), _digest(data))
    if store:
        managers.store(store).write(ref.path, data)
        return ref
    folder = f"{values_dir}/{place}"
    ensure_folder(folder, top=str(values_dir))
    if key is not None:
        _keep_long_key(folder, key)
    write_durable(folder, file, data)
    return ref


def read_value(values_dir: Path, ref: ValueRef, *, wanted: Any = Any, managers: Managers = BUILT_IN) -> Any:
    """The value at `ref`, of the kind that is `wanted` where its manager gives several. Raises `ValueFormatError` where
    it is gone, or is not what was written."""
    if ref.io == "none":
        return None
    store, _, name = ref.io.rpartition(":")
    try:
        data = managers.store(store).read(ref.path) if store else (values_dir / ref.path).read_bytes()
    except FileNotFoundError as error:
        raise ValueFormatError(f"the value {ref.path} is gone", hint=_AGAIN) from error
    if len(data) != ref.size:
        raise ValueFormatError(f"the value {ref.path} has {len(data)} bytes; {ref.size} were written", hint=_AGAIN)
    if (found := _digest(data)) != ref.digest:
        raise ValueFormatError(
            f"the value {ref.path} is damaged: its digest is {found}, {ref.digest} was written",
            hint=f"check the disk, then {_AGAIN}",
        )
    try:
        return managers.decode(name, data, wanted)
    except ValueFormatError as error:
        raise ValueFormatError(f"the value {ref.path}: {error.message}", hint=error.hint) from error


def _keep_long_key(folder: str, key: str) -> None:
    """Where the folder's name is too short to tell the key, the key lies in it."""
    if not folder.endswith(f"/{quote(key, safe='')}") and not os.path.exists(f"{folder}/{_KEY_FILE}"):  # noqa: PTH110
        write_durable(folder, _KEY_FILE, key.encode())


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
