"""What a stream brings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Message"]


@dataclass(frozen=True)
class Message:
    """One message of a stream. `key` tells it from all others: the same key again is the same one, delivered again.

    `value`: any; by the default `admit`, a dict is the run's parameters. `metadata`: of the partition, by the same.
    `ack`: called, and awaited if need be, once what was said of the message is durable; None where the source has none.
    """

    key: str
    value: Any = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    ack: Callable[[], Awaitable[None] | None] | None = None
