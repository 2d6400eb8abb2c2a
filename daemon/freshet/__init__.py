"""Freshet keeps data assets fresh.

Everything a plugin needs is here: `from freshet import asset, sensor, Freshness, ...`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freshet.definitions.asset import Asset, Dep, asset
from freshet.definitions.cache import CacheKey
from freshet.definitions.check import Check, CheckResult, check
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.delivery import Deliveries, Delivery, Handled
from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.executor import Command, Dask, Detached, Inline, Process
from freshet.definitions.external import ExternalAsset, external_asset
from freshet.definitions.flow import Batch, SensorOptions
from freshet.definitions.freshness import Freshness
from freshet.definitions.intake import Encoding, Intake, SchemeName
from freshet.definitions.io_manager import IOManager
from freshet.definitions.job import Job, job
from freshet.definitions.listen import Happened, Happenings, Listen, ListenType
from freshet.definitions.mapping import All, ByDimension, Identity, Last, Static, TimeWindow
from freshet.definitions.names import check_key
from freshet.definitions.outcome import (
    AddPartitions,
    DeletePartitions,
    GiveUp,
    Report,
    RetryLater,
    RunRequest,
    Skip,
)
from freshet.definitions.partitions import DynamicPartitions, Keep, MultiPartitions, StaticPartitions, TimePartitions
from freshet.definitions.pool import Pool
from freshet.definitions.resource import Resource, resource
from freshet.definitions.retries import Retries
from freshet.definitions.schedule import Schedule, schedule
from freshet.definitions.sensor import FunctionSensor, Hints, Sensor, sensor
from freshet.errors import DefinitionError, FreshetError, ItemsFailed, NoStep, PartitionKeyError, RunFailed
from freshet.host.contexts import (
    JobContext,
    Ledger,
    MissingKeys,
    Partition,
    PartitionWindow,
    RunInfo,
    ScheduleContext,
    SensorContext,
    StepContext,
)
from freshet.host.current import current
from freshet.host.plugin_settings import settings
from freshet.masking import conceal

if TYPE_CHECKING:
    from freshet.io.s3 import S3Values

__version__ = "0.1.0"

__all__ = [
    "AddPartitions",
    "All",
    "Asset",
    "AutomationCondition",
    "Batch",
    "ByDimension",
    "CacheKey",
    "Check",
    "CheckResult",
    "Command",
    "Dask",
    "DefinitionError",
    "DeletePartitions",
    "Deliveries",
    "Delivery",
    "Dep",
    "Detached",
    "Duration",
    "DynamicPartitions",
    "Encoding",
    "ExternalAsset",
    "FreshetError",
    "Freshness",
    "FunctionSensor",
    "GiveUp",
    "Handled",
    "Happened",
    "Happenings",
    "Hints",
    "IOManager",
    "Identity",
    "Inline",
    "Intake",
    "ItemsFailed",
    "Job",
    "JobContext",
    "Keep",
    "Last",
    "Ledger",
    "Listen",
    "ListenType",
    "MissingKeys",
    "MultiPartitions",
    "NoStep",
    "Partition",
    "PartitionKeyError",
    "PartitionWindow",
    "Pool",
    "Process",
    "Report",
    "Resource",
    "Retries",
    "RetryLater",
    "RunFailed",
    "RunInfo",
    "RunRequest",
    "S3Values",
    "Schedule",
    "ScheduleContext",
    "SchemeName",
    "Sensor",
    "SensorContext",
    "SensorOptions",
    "Skip",
    "Static",
    "StaticPartitions",
    "StepContext",
    "TimePartitions",
    "TimeWindow",
    "__version__",
    "asset",
    "check",
    "check_key",
    "conceal",
    "current",
    "external_asset",
    "job",
    "parse_duration",
    "resource",
    "schedule",
    "sensor",
    "settings",
]


def __getattr__(name: str) -> Any:
    """What brings more along than the command line needs is loaded when it is asked for."""
    if name == "S3Values":
        from freshet.io.s3 import S3Values

        return S3Values
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
