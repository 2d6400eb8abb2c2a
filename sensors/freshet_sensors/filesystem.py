"""Whether a folder lies on a file system whose changes the kernel does not tell, because others make them elsewhere."""

from __future__ import annotations

import os
import sys

__all__ = ["NETWORK", "is_network"]

NETWORK = {
    0x6969: "nfs",
    0x517B: "smb",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x01021997: "9p",
    0x65735546: "fuse",
    0x00C36400: "ceph",
    0x5346414F: "afs",
    0x6B414653: "kafs",
    0x73757245: "coda",
    0x0BD00BD0: "lustre",
    0x47504653: "gpfs",
    0x01161970: "gfs2",
    0x7461636F: "ocfs2",
    0x786F4256: "vboxsf",
    0xBACBACBC: "vmhgfs",
}
"""By statfs's `f_type`. FUSE is among them: what stands behind it cannot be told, and sshfs is common."""


def is_network(path: str) -> bool:
    """Whether changes made elsewhere may show in this folder without notice. False where it cannot be told."""
    if sys.platform != "linux":
        return False
    return (_type(path) or 0) in NETWORK


def _type(path: str) -> int | None:
    import ctypes  # not needed where the plugin is only loaded

    # `f_type` is the first member of struct statfs, of the width of a long on every 64-bit Linux but s390x.
    buffer = ctypes.create_string_buffer(512)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), buffer) != 0:
        return None
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF
