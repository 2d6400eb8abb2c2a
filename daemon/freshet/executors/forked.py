"""An evaluator process as the code host hands it over: its process id, its socket and its page."""

from __future__ import annotations

import mmap
import socket
from dataclasses import dataclass

__all__ = ["ForkedEvaluator"]


@dataclass(frozen=True, slots=True)
class ForkedEvaluator:
    """A running evaluator.

    `sock`: the daemon's end of a stream socket pair, non-blocking; frames as in `host.frames`. `page`: one page of
    memory shared with the evaluator ("which tick runs now"); both are the receiver's to close.
    """

    pid: int
    sock: socket.socket
    page: mmap.mmap
