"""systemd's readiness protocol (sd_notify(3)): datagrams to $NOTIFY_SOCKET.

Non-blocking, because a blocking send to a socket that nobody drains hangs; a lost notification is not worth a stop.
"""

from __future__ import annotations

import os
import socket

__all__ = ["notify"]


def notify(**state: str | int) -> bool:
    """Send `READY=1`, `STATUS=...` and the like; False where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    message = "\n".join(f"{name}={value}" for name, value in state.items()).encode()
    target = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as link:
        try:
            link.sendto(message, target)
        except OSError:
            return False
    return True
