"""`ctx` of a running step: see `contexts.JobContext` and `contexts.StepContext`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson

from freshet.definitions.asset import Asset
from freshet.definitions.job import Job
from freshet.definitions.names import check_version
from freshet.definitions.outcome import Json
from freshet.definitions.partitions import PartitionsSpec
from freshet.host.artifacts import Artifacts
from freshet.host.contexts import MissingKeys, Partition, RunInfo
from freshet.host.journal import Journal
from freshet.host.line import Line
from freshet.host.messages import Run
from freshet.host.output import JournalLogger

if TYPE_CHECKING:
    from freshet.host.calls import Calls
    from freshet.host.fanout.fans import Fans

__all__ = ["RunningAsset", "RunningCheck", "RunningJob"]

_PROGRESS_EVERY = 0.1
"""Seconds between progress lines; the last state is always written."""


class RunningJob:
    """What a job's function gets. `collected`: what `metadata()` was given. `line`: to the daemon, if there is one."""

    def __init__(
        self, order: Run, journal: Journal, *, line: Line | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._order = order
        self._journal = journal
        self._line = line
        self._fans: Fans | None = None
        self._calls: Calls | None = None
        self._clock = clock
        self._log = JournalLogger(journal)
        self._progress: tuple[float, float | None] | None = None
        self._progress_at = float("-inf")
        self._artifacts: Artifacts | None = None
        self.collected: dict[str, Json] = {}

    @property
    def run(self) -> RunInfo:
        """The run."""
        order = self._order
        return RunInfo(
            id=order["run"],
            target=order["target"],
            origin=order["origin"],
            priority=order["priority"],
            partition=order["key"],
            attempt=order["attempt"],
            params=self.params,
            tags=self.tags,
        )

    @property
    def run_id(self) -> int:
        """The run's number."""
        return self._order["run"]

    @property
    def attempt(self) -> int:
        """1 for the first."""
        return self._order["attempt"]

    @property
    def params(self) -> Mapping[str, Any]:
        """The run's parameters, as given."""
        return MappingProxyType(self._order["params"])

    @property
    def tags(self) -> Mapping[str, str]:
        """The run's tags."""
        return MappingProxyType(self._order["tags"])

    @property
    def log(self) -> JournalLogger:
        """The run's journal."""
        return self._log

    def metadata(self, **values: Json) -> None:
        """Facts to keep with the result. Raises `TypeError` for what JSON cannot hold."""
        for name, value in values.items():
            try:
                values[name] = orjson.loads(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))
            except TypeError as error:
                raise TypeError(f"ctx.metadata({name}={value!r:.60}): not JSON: {error}") from None
        self.collected.update(values)
        self._journal.metadata(values)

    def progress(self, done: float, total: float | None = None) -> None:
        """How far the step is."""
        self._progress = (done, total)
        if self._clock() - self._progress_at >= _PROGRESS_EVERY:
            self.write_progress()

    def artifact(self, name: str, **given: Any) -> None:
        """Something to look at."""
        if self._artifacts is None:
            order = self._order
            self._artifacts = Artifacts(self._journal.folder, order["step"], order["position"], order["attempt"])
        self._journal.artifact(self._artifacts.keep(self._journal.clock(), name, **given))

    def say_started(self) -> None:
        """Other processes are about to speak for the step."""
        self._journal.say_started()

    def map(self, function: Callable[..., Any], items: Iterable[Any], **options: Any) -> Any:
        """Items by themselves."""
        self.say_started()
        if self._fans is None:  # what few steps need is not in the memory of all
            from freshet.host.fanout.fans import Fans

            self._fans = Fans(self._order, self._journal.folder, self._line)
        return self._fans.map(self, function, items, **options)

    def call(
        self,
        target: str | Job | Asset,
        params: Mapping[str, Any] | None = None,
        /,
        *,
        wait: bool = True,
        detach: bool = False,
        partition: str | None = None,
        **more: Any,
    ) -> Any:
        """Another run."""
        if self._calls is None:
            from freshet.host.calls import Calls

            self._calls = Calls(self._order, self._line)
        return self._calls.call(target, params, more, wait=wait, detach=detach, partition=partition)

    def write_progress(self) -> None:
        """Write the last state, if it is not written yet."""
        if self._progress is not None:
            self._journal.progress(*self._progress)
            self._progress = None
            self._progress_at = self._clock()


class RunningAsset(RunningJob):
    """What an asset's function gets. `set`: its partitions, with their zone. `version`: what `data_version` got."""

    def __init__(
        self,
        order: Run,
        journal: Journal,
        set: PartitionsSpec | None = None,
        *,
        line: Line | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(order, journal, line=line, clock=clock)
        self._set = set
        self.version: str | None = None

    @property
    def asset(self) -> str:
        """The asset's name."""
        return self._order["step"]

    @property
    def partition(self) -> Partition:
        """The partition this step makes. Raises `LookupError` for an asset without partitions."""
        key = self._order["key"]
        if key is None:
            raise LookupError(f"{self.asset} has no partitions: give it @asset(partitions=...)")
        return Partition(key, MappingProxyType(self._order["partition_metadata"]), self._set)

    def data_version(self, version: str) -> None:
        """Say what the version of the data is. Raises `InvalidName` for what is none."""
        self.version = check_version(version, what="ctx.data_version()")

    @property
    def missing_inputs(self) -> Mapping[str, MissingKeys]:
        """By upstream asset: the keys its mapping names that have no value."""
        missing, more = self._order["missing"].items(), self._order["missing_more"]
        return MappingProxyType(
            {
                name: MissingKeys.of((key for key in keys if key is not None), more.get(name, 0))
                for name, keys in missing
            }
        )


class RunningCheck(RunningAsset):
    """What a check's function gets: `asset` is the one that it checks."""

    @property
    def asset(self) -> str:
        """The asset's name."""
        return self._order["step"].partition(".")[0]
