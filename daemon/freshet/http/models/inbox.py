"""Hooks, deliveries and replays."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from freshet.http.models.base import Answer, Body, Json
from freshet.http.models.tickers import TickAnswer

__all__ = ["DeliveryAnswer", "DeliveryBodyAnswer", "DeliveryState", "HookAnswer", "ReplayAnswer", "ReplayBody"]

DeliveryState = Literal["waiting", "admitted", "filtered", "rejected", "parked"]


class HookAnswer(Answer):
    """A hook and what waits behind it. `problem`: why it takes nothing, or not everything; `oldest`: when the first of
    those that wait was received; `full`: why no hook takes anything: too much waits, and whose it is;
    `copies`: how many since the start had the body of an earlier one under an id that is not signed, and were taken for
    its replay."""

    sensor: str
    path: str
    scheme: str
    observe: bool
    max_body: int
    waiting: int
    oldest: float | None
    parked: int
    problem: str | None
    full: str | None = None
    copies: int = 0


class DeliveryAnswer(Answer):
    """A delivery and what became of it. `asked`: [target, partition, run key] of each run; `unsigned`: why its
    signature would have been refused, at a hook that only observes; `size`: bytes of its body."""

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


class DeliveryBodyAnswer(DeliveryAnswer):
    """The same with its body: as a text where it is one, else in base64."""

    body: str | None = None
    body_base64: str | None = None


class ReplayBody(Body):
    """Which deliveries: those named, or those received from `since` up to `until`, or all. `again`: also what ran
    because of them may run once more."""

    ids: Annotated[tuple[Annotated[int, Field(ge=1, le=2**63 - 1)], ...], Field(max_length=10_000)] | None = None
    since: float | None = None
    until: float | None = None
    all: bool = False
    dry_run: bool = False
    again: bool = False


class ReplayAnswer(Answer):
    """How many deliveries it is about, and how many of them did not wait already; of a dry run, what a look would make
    of the first thousand."""

    sensor: str
    count: int
    returned: int
    dry_run: TickAnswer | None
