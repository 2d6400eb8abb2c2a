"""Tickers and the outcomes of their ticks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from freshet.definitions.outcome import Json
from freshet.store.records.events import Event
from freshet.store.records.inbox import HandledDelivery
from freshet.store.records.keys import Pair
from freshet.store.records.pending import RequestToKeep, WaitingRequest
from freshet.store.records.runs import Admission, DroppedRequest, InputNeed, RunToAdmit
from freshet.store.records.sets import PartitionRef

__all__ = [
    "LedgerDelta",
    "LedgerEntry",
    "PartitionDelta",
    "ReportedMaterialization",
    "RunKey",
    "TickCommit",
    "TickError",
    "TickResult",
    "TickerRow",
]


RunKey = tuple[str, str, str]
"""Target, key of the partition ("" without one), run key."""


@dataclass(frozen=True, slots=True)
class TickerRow:
    """A ticker as remembered. `strikes`: how often in a row a look of it cost its evaluator; `struck_code`: the version
    of its code with which it was quarantined for that."""

    id: int
    kind: str
    name: str
    cursor: Json
    revision: int
    ledger_revision: int
    last_tick: int
    paused: bool
    quarantined: str | None
    failures: int
    retry_at: float | None
    last_error: Json
    last_tick_at: float | None
    last_ok_at: float | None
    ticks: int
    idle_ticks: int
    refused: int
    strikes: int = 0
    struck_code: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """`digest`: 16 bytes of the key; `version`: 8 bytes of what stood there; `key`: its text."""

    digest: bytes
    version: bytes
    key: str


@dataclass(frozen=True, slots=True)
class LedgerDelta:
    """Entries to put (insert or replace) and digests to remove."""

    put: Sequence[LedgerEntry] = ()
    remove: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class PartitionDelta:
    """Keys to add (with metadata) to a dynamic set, and keys to delete from it. `alone`: the combinations that they are
    a part of follow by themselves."""

    set: str
    add: Sequence[Pair] = ()
    delete: tuple[str, ...] = ()
    alone: bool = False


@dataclass(frozen=True, slots=True)
class ReportedMaterialization:
    """An asset made outside Freshet. `number`, `parts`: as in `PartitionRef`. `at`: when it was made, where told."""

    asset: str
    key: str | None = None
    number: int | None = None
    parts: tuple[PartitionRef, ...] = ()
    metadata: dict[str, Json] = field(default_factory=dict[str, Json])
    data_version: str | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class TickError:
    """Why a tick failed."""

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class TickCommit:
    """The outcome of one tick, whole: it commits in one transaction or not at all.

    Conditional on the ticker's `revision` and on `tick_id` being later than its last. `start`: how many of
    `runs`, from the front, have a slot reserved and are committed as already started.
    `pending`: requests that wait before they become runs. `release`: run keys that are free again, before all else.
    `final`: False for a checkpoint, after which the tick goes on under the next tick id. `stage`: where the outcome
    was too large for one transaction, the stage that holds its partitions, ledger, reports and runs. `depth`: how many
    automatic runs led to what it looked at.
    """

    ticker: int
    tick_id: int
    revision: int
    started_at: float
    ended_at: float
    cursor: Json = None
    cursor_changed: bool = False
    ledger: LedgerDelta = LedgerDelta()
    partitions: tuple[PartitionDelta, ...] = ()
    runs: tuple[RunToAdmit, ...] = ()
    reports: tuple[ReportedMaterialization, ...] = ()
    skip: str | None = None
    start: int = 0
    needs: dict[str, tuple[InputNeed, ...]] = field(default_factory=dict[str, tuple[InputNeed, ...]])
    version: str = ""
    final: bool = True
    stage: int | None = None
    deliveries: tuple[HandledDelivery, ...] = ()
    pending: tuple[RequestToKeep, ...] = ()
    release: tuple[RunKey, ...] = ()
    depth: int = 0


@dataclass(frozen=True, slots=True)
class TickResult:
    """What a tick's commit did. `events` are the transaction's, in order. `settled`: how many deliveries wait no more;
    `parked`: those of them that failed too often. `pending`: the requests that wait from now on. `canceled`: the runs
    that gave way."""

    admitted: tuple[Admission, ...]
    dropped: tuple[DroppedRequest, ...]
    events: tuple[Event, ...]
    ledger_revision: int
    partitions_added: int = 0
    settled: int = 0
    parked: tuple[int, ...] = ()
    pending: tuple[WaitingRequest, ...] = ()
    canceled: tuple[int, ...] = ()
