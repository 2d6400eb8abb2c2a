"""Sockets that the service manager holds and hands down (sd_listen_fds(3)): whoever comes while no daemon is there
waits in them for the next one, and is not refused.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from freshet.errors import SettingsError

__all__ = ["handed_down"]

_FIRST = 3
"""The descriptor that the first of them has."""


def handed_down(environ: MutableMapping[str, str]) -> socket.socket | None:
    """The TCP socket that the environment says was handed to this process, listening; None where there is none.

    What says so is taken out of the environment, and the descriptors are for no child. Raises `SettingsError` where it
    is not one listening TCP socket.
    """
    pid, count, _ = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return None
    descriptors = range(_FIRST, _FIRST + int(count))
    for one in descriptors:
        os.set_inheritable(one, False)
    if not descriptors:
        return None
    if len(descriptors) > 1:
        raise SettingsError(f"{len(descriptors)} sockets were handed down: one is taken", hint=_HINT)
    try:
        found = socket.socket(fileno=descriptors[0])
    except OSError as error:
        raise SettingsError(f"what was handed down is no socket: {error.strerror}", hint=_HINT) from None
    tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
    if not tcp or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.close()
        raise SettingsError("the socket that was handed down is no listening TCP socket", hint=_HINT)
    found.setblocking(False)
    return found


_HINT = "give freshet.socket one ListenStream=ADDRESS:PORT, and Accept=no; Freshet makes the API's socket itself"
