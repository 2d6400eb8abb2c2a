"""What the host and the process for inline steps say, beside `Run`, `CancelItem` and `Called`."""

from __future__ import annotations

from typing import Literal, TypedDict

from freshet.host.messages import Ready, WorkerCall, WorkerEnded, WorkerLeft

__all__ = ["FromInline", "InlineEnded", "InlineReceived", "InlineSaid", "Stop"]


class InlineReceived(TypedDict):
    """This `Run` is here."""

    op: Literal["received"]
    run: int
    position: int


class InlineEnded(TypedDict):
    """And this step is done. `last`: the process takes no other, and ends with those that it has."""

    op: Literal["ended"]
    run: int
    position: int
    ended: WorkerEnded
    last: bool


class InlineSaid(TypedDict):
    """What a step of that process says meanwhile."""

    op: Literal["said"]
    run: int
    position: int
    said: WorkerCall | WorkerLeft


class Stop(TypedDict):
    """To that process: cancel this step."""

    op: Literal["stop"]
    run: int
    position: int


FromInline = Ready | InlineReceived | InlineSaid | InlineEnded
