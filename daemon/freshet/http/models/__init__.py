"""What goes over the API, as typed models: shared by the server and the client.

Times are seconds since 1970 in UTC, durations are seconds. Answers are built when first used, so that importing all of
them costs the CLI little.
"""

from __future__ import annotations

from freshet.http.models.assets import (
    AddPartitionsBody,
    AssetAnswer,
    AssetCounts,
    CacheCleared,
    DeletePartitionsBody,
    FreshnessAnswer,
    PartitionAnswer,
    PartitionsChanged,
    PartitionSetAnswer,
    PartitionsPage,
    ReportAnswer,
    ReportBody,
    VersionsAnswer,
)
from freshet.http.models.backfills import (
    BackfillAnswer,
    BackfillAssetAnswer,
    BackfillBody,
    BackfillSelect,
    BackfillState,
)
from freshet.http.models.base import FreshnessState, Json, RunState, StepState
from freshet.http.models.inbox import (
    DeliveryAnswer,
    DeliveryBodyAnswer,
    DeliveryState,
    HookAnswer,
    ReplayAnswer,
    ReplayBody,
)
from freshet.http.models.pools import PoolAnswer, PriorityBody, RateAnswer
from freshet.http.models.runs import (
    ArtifactAnswer,
    CallBody,
    EventAnswer,
    EventsPage,
    MaterializeBody,
    RunAnswer,
    RunsAdmitted,
    StepAnswer,
)
from freshet.http.models.status import (
    ErrorAnswer,
    ErrorBody,
    HostAnswer,
    ProblemAnswer,
    StatusAnswer,
)
from freshet.http.models.tickers import (
    CursorAnswer,
    CursorBody,
    RollbackAnswer,
    RollbackBody,
    ScheduleAnswer,
    ScheduleTickAnswer,
    SensorAnswer,
    SkipAnswer,
    TickAnswer,
    TickBody,
    TickRowAnswer,
)
from freshet.http.models.why import DependencyAnswer, MakerAnswer, SomeAnswer, WhyAnswer, WhyNode

__all__ = [
    "AddPartitionsBody",
    "ArtifactAnswer",
    "AssetAnswer",
    "AssetCounts",
    "BackfillAnswer",
    "BackfillAssetAnswer",
    "BackfillBody",
    "BackfillSelect",
    "BackfillState",
    "CacheCleared",
    "CallBody",
    "CursorAnswer",
    "CursorBody",
    "DeletePartitionsBody",
    "DeliveryAnswer",
    "DeliveryBodyAnswer",
    "DeliveryState",
    "DependencyAnswer",
    "ErrorAnswer",
    "ErrorBody",
    "EventAnswer",
    "EventsPage",
    "FreshnessAnswer",
    "FreshnessState",
    "HookAnswer",
    "HostAnswer",
    "Json",
    "MakerAnswer",
    "MaterializeBody",
    "PartitionAnswer",
    "PartitionSetAnswer",
    "PartitionsChanged",
    "PartitionsPage",
    "PoolAnswer",
    "PriorityBody",
    "ProblemAnswer",
    "RateAnswer",
    "ReplayAnswer",
    "ReplayBody",
    "ReportAnswer",
    "ReportBody",
    "RollbackAnswer",
    "RollbackBody",
    "RunAnswer",
    "RunState",
    "RunsAdmitted",
    "ScheduleAnswer",
    "ScheduleTickAnswer",
    "SensorAnswer",
    "SkipAnswer",
    "SomeAnswer",
    "StatusAnswer",
    "StepAnswer",
    "StepState",
    "TickAnswer",
    "TickBody",
    "TickRowAnswer",
    "VersionsAnswer",
    "WhyAnswer",
    "WhyNode",
]
