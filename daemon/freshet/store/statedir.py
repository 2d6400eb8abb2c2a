"""The folder that holds all state: created for its owner alone, and only on a file system that can hold it."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from freshet.errors import StoreError

__all__ = ["DATABASE_NAME", "network_file_system", "prepare_state_dir"]

DATABASE_NAME = "freshet.db"

# f_type of statfs(2). A write-ahead log needs shared memory and locks that these do not give between machines.
_NETWORK = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x01021997: "9P",
    0x5346414F: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
}


def prepare_state_dir(state_dir: Path) -> Path:
    """Create the folder, durable and with mode 0700, if it is not there; returns the path of the database in it.

    Raises `StoreError` if it cannot be made or written, or lies on a network file system.
    """
    try:
        for folder in reversed([state_dir, *state_dir.parents]):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
                _sync(folder.parent)
    except OSError as error:
        raise StoreError(
            f"the state directory {state_dir} cannot be created: {error.strerror}",
            hint="create it for the daemon's user, or set state_dir to another place",
        ) from error
    if not state_dir.is_dir() or not os.access(state_dir, os.R_OK | os.W_OK | os.X_OK):
        raise StoreError(f"{state_dir} is no folder that this user may write to", hint="set state_dir to another place")
    kind = network_file_system(state_dir)
    if kind is not None:
        raise StoreError(
            f"the state directory {state_dir} is on {kind}, where the database's locks do not hold",
            hint="set state_dir to a folder on a local disk",
        )
    return state_dir / DATABASE_NAME


def network_file_system(path: Path) -> str | None:
    """The name of the network file system that `path` lies on; None for others and where it cannot be told."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(512)
    if libc.statfs(os.fsencode(path), buffer) != 0:
        return None
    magic = ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF
    return _NETWORK.get(magic)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
