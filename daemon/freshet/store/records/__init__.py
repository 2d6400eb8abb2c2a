"""What goes into the store and what comes out: frozen values, no SQL.

Assets, sets and tickers go by name here; numbers of partitions are the store's. `partition` is a number
(0: without partitions) and `key` its text, None without one. Times are seconds since 1970, UTC.
"""

from __future__ import annotations

from freshet.store.records.assets import (
    AutomationCommit,
    ConditionChunk,
    FreshnessChange,
    FreshnessRow,
    ToldEvent,
)
from freshet.store.records.backfills import (
    BackfillChunk,
    BackfillCommit,
    BackfillMark,
    BackfillRow,
    BackfillState,
    EndedStep,
    NewBackfill,
)
from freshet.store.records.events import (
    Event,
    EventType,
)
from freshet.store.records.inbox import (
    DeliveryRow,
    DeliveryState,
    HandledDelivery,
    InboxCount,
    Kept,
    NewDelivery,
    WaitingDelivery,
)
from freshet.store.records.keys import BareKeys, Pair, names_of
from freshet.store.records.runs import (
    Admission,
    Admitted,
    Cause,
    CheckEnd,
    DroppedRequest,
    Finished,
    InputNeed,
    QueuedStep,
    Recovery,
    RunRow,
    RunState,
    RunToAdmit,
    Started,
    StepResult,
    StepRow,
    StepState,
    StepToAdmit,
    StepToRun,
    ValueRef,
)
from freshet.store.records.sets import AddedAgain, AssetBits, CheckedBits, PartitionRef, SetState
from freshet.store.records.ticks import (
    LedgerDelta,
    LedgerEntry,
    PartitionDelta,
    ReportedMaterialization,
    TickCommit,
    TickError,
    TickerRow,
    TickResult,
)

__all__ = [
    "AddedAgain",
    "Admission",
    "Admitted",
    "AssetBits",
    "AutomationCommit",
    "BackfillChunk",
    "BackfillCommit",
    "BackfillMark",
    "BackfillRow",
    "BackfillState",
    "BareKeys",
    "Cause",
    "CheckEnd",
    "CheckedBits",
    "ConditionChunk",
    "DeliveryRow",
    "DeliveryState",
    "DroppedRequest",
    "EndedStep",
    "Event",
    "EventType",
    "Finished",
    "FreshnessChange",
    "FreshnessRow",
    "HandledDelivery",
    "InboxCount",
    "InputNeed",
    "Kept",
    "LedgerDelta",
    "LedgerEntry",
    "NewBackfill",
    "NewDelivery",
    "Pair",
    "PartitionDelta",
    "PartitionRef",
    "QueuedStep",
    "Recovery",
    "ReportedMaterialization",
    "RunRow",
    "RunState",
    "RunToAdmit",
    "SetState",
    "Started",
    "StepResult",
    "StepRow",
    "StepState",
    "StepToAdmit",
    "StepToRun",
    "TickCommit",
    "TickError",
    "TickResult",
    "TickerRow",
    "ToldEvent",
    "ValueRef",
    "WaitingDelivery",
    "names_of",
]
