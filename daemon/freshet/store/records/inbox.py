"""Deliveries to hooks: as they come, as they wait, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from freshet.definitions.outcome import Json

__all__ = [
    "ATTEMPTS",
    "PATIENCE",
    "PUT_OFF",
    "DeliveryRow",
    "DeliveryState",
    "HandledDelivery",
    "InboxCount",
    "Kept",
    "NewDelivery",
    "WaitingDelivery",
]

DeliveryState = Literal["waiting", "admitted", "filtered", "rejected", "parked"]

ATTEMPTS = 3
"""How often a delivery may fail before it is parked."""
PATIENCE = 86_400.0
"""For how long after it came a delivery may be put off without that being a failure."""
PUT_OFF = 3600.0
"""Seconds by which it may be put off at once."""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A delivery at the door. `digest`: of the body; `signed`: of what was signed, where the id is not part of it.
    `unsigned`: why its signature would have been refused, where the intake only observes."""

    ticker: int
    delivery: str
    digest: bytes
    body: bytes
    received_at: float
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    signed: bytes | None = None
    unsigned: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of it: `new`; `same`, it was here before; `copy`, what was signed of it was, under another id;
    `other`, its id was here before with another body. `id`: of the row."""

    id: int
    how: Literal["new", "same", "copy", "other"]


@dataclass(frozen=True, slots=True)
class WaitingDelivery:
    """A delivery for a sensor to look at. `attempts`: how often it has failed."""

    id: int
    delivery: str
    content_type: str | None
    headers: dict[str, str]
    attempts: int
    received_at: float
    body: bytes


@dataclass(frozen=True, slots=True)
class HandledDelivery:
    """What a look made of a delivery; `failed` counts an attempt, and so does `later` (tried again `after` seconds)
    where it came longer ago than `PATIENCE`. `asked`: [target, partition, run key] of each run."""

    id: int
    outcome: Literal["admitted", "filtered", "rejected", "failed", "later"]
    reason: str | None = None
    asked: tuple[tuple[str, str | None, str | None], ...] = ()
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class InboxCount:
    """Of one ticker: how many wait, since when the first of them, and how many are parked."""

    ticker: int
    waiting: int
    oldest: float | None
    parked: int


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as it is shown, without its body of `size` bytes."""

    id: int
    delivery: str
    state: DeliveryState
    attempts: int
    received_at: float
    unsigned: str | None
    decided_at: float | None
    tick_id: int | None
    reason: str | None
    asked: Json
    content_type: str | None
    headers: dict[str, str]
    size: int
