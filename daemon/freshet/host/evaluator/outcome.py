"""What a look found, as plain data: what is yielded is checked here, so that the engine only sees good data."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal

from freshet.definitions.delivery import Delivery, Handled
from freshet.definitions.listen import Happened
from freshet.definitions.names import PRIORITY_MAX, check_key, check_version
from freshet.definitions.outcome import AddPartitions, DeletePartitions, Json, Report, RunRequest, Skip
from freshet.definitions.sensor import Sensor
from freshet.definitions.told import moment_told
from freshet.errors import FreshetError
from freshet.host.evaluator.ledger import LedgerChange
from freshet.host.evaluator.plain import NotPlain, is_a, plain, plain_text
from freshet.host.messages import ErrorData

__all__ = ["CheckParameters", "Found", "Outcome", "Status", "WrongResult"]

CheckParameters = Callable[[str, Mapping[str, Json]], object]
"""Raises `FreshetError` where a job's annotations do not allow these parameters, of which some may be missing yet; of
other names it knows nothing."""


Status = Literal["ok", "checkpoint", "failed", "timed_out", "later", "given_up", "abandoned"]

_EXPECTED = "yield RunRequest, AddPartitions, DeletePartitions, Report, Handled or Skip"

_NUMBERS = 2**63

_OUTCOMES = ("admitted", "filtered", "rejected", "failed", "later")


class WrongResult(TypeError):
    """A sensor yielded or returned what is no result, or a result with a wrong field."""


@dataclass(slots=True)
class Outcome:
    """How a look, or a part of one, ended: `executors.base.TickEnd` before it crosses the process boundary.

    `runs`: [target, partition, run_key, params, tags, priority], with its own cause where it has one; `partitions`:
    [set, [[key, metadata]], [deleted key]]; `cause`: [depth, run], see `TickEnd`;
    `reports`: [asset, key, metadata]; `deliveries`: [number, outcome, reason, runs, partitions, reports, after].
    `cursor` is a list of one where the cursor changed, else None. `lag`: [items, since]. `in_hand`: see `TickEnd`.
    """

    status: Status
    cursor: list[Json] | None = None
    ledger: LedgerChange | None = None
    runs: list[list[Json]] | None = None
    partitions: list[list[Any]] | None = None
    reports: list[list[Json]] | None = None
    deliveries: list[list[Any]] | None = None
    skip: str | None = None
    waiting: bool | None = None
    error: ErrorData | None = None
    after: float | None = None
    lag: list[Json] | None = None
    notice: str | None = None
    cause: list[Json] | None = None
    in_hand: list[int] | None = None


class Found:
    """Takes what a sensor yields, in order."""

    __slots__ = (
        "_check",
        "_handled",
        "_sensor",
        "_target",
        "cause",
        "deliveries",
        "partitions",
        "reports",
        "runs",
        "skip",
        "waiting",
    )

    def __init__(self, sensor: str, *, target: str | None = None, check: CheckParameters | None = None) -> None:
        """`target`: the sensor's own. `check`: the parameters of jobs that it asks for."""
        self._sensor = sensor
        self._target = target
        self._check = check
        self._handled = set[int]()
        self.cause: list[Json] | None = None
        self.clear()

    @classmethod
    def of(cls, sensor: Sensor, check: CheckParameters | None) -> Found:
        """For a look of this sensor. Where many of its requests become one run, their parameters are none of the
        job's."""
        spec = sensor.spec
        return cls(sensor.name, target=spec.target, check=None if spec.flow.batch is not None else check)

    def saw(self, events: Iterable[Happened]) -> None:
        """The look was given these: what it asks for may be because of any of them."""
        deepest = max(events, key=lambda one: one.depth, default=None)
        if deepest is not None and deepest.depth > (self.cause[0] if self.cause else 0):
            self.cause = [deepest.depth, deepest.run]

    def clear(self) -> None:
        """Forget what was found: it is committed."""
        self.runs: list[list[Json]] = []
        self.partitions: list[list[Any]] = []
        self.reports: list[list[Json]] = []
        self.deliveries: list[list[Any]] = []
        self.skip: str | None = None
        self.waiting = False

    @property
    def handled(self) -> AbstractSet[int]:
        """The deliveries that the look has handled, committed or not."""
        return self._handled

    def __bool__(self) -> bool:
        return bool(self.runs or self.partitions or self.reports or self.deliveries or self.skip)

    def add(self, item: object) -> None:
        """One result. Raises `WrongResult`, or `PartitionKeyError` for a key that no set may hold."""
        try:
            if isinstance(item, RunRequest):
                self.runs.append(self._checked(_run(item)))
            elif isinstance(item, AddPartitions):
                self._add_partitions(item)
            elif isinstance(item, DeletePartitions):
                self._delete_partitions(item)
            elif isinstance(item, Report):
                self.reports.append(_report(item))
            elif isinstance(item, Handled):
                self._add_handled(item)
            elif isinstance(item, Skip):
                self.skip = plain_text(item.reason, "Skip(reason)")
                self.waiting = bool(item.waiting)
            else:
                raise WrongResult(f"sensor {self._sensor!r} yielded {_show(item)}; {_EXPECTED}")
        except NotPlain as error:
            raise WrongResult(f"sensor {self._sensor!r} yielded a wrong {type(item).__name__}: {error}") from None

    def _checked(self, run: list[Any]) -> list[Any]:
        target, _, _, params, *_ = run
        if self._check is not None and (name := target or self._target) is not None:
            self._check(name, params)
        return run

    def _add_handled(self, item: Handled) -> None:
        """A delivery with its results; what is wrong with those is the delivery's failure, and not the look's."""
        delivery: Any = item.delivery
        if not isinstance(delivery, Delivery):
            raise NotPlain(f"Handled(delivery) must be one that `ctx.inbox()` gave, found {_show(delivery)}")
        number: Any = delivery.number
        if type(number) is not int or not 0 < number < _NUMBERS:
            raise NotPlain(f"Handled(delivery) must be one that `ctx.inbox()` gave, found the number {_show(number)}")
        if number in self._handled:
            raise NotPlain(f"Handled(delivery): {number} was handled in this look already")
        if item.outcome not in _OUTCOMES:
            raise NotPlain(f"Handled(outcome) must be one of {', '.join(_OUTCOMES)}, found {_show(item.outcome)}")
        reason = None if item.reason is None else plain_text(item.reason, "Handled(reason)")
        own = Found(self._sensor)
        after: Any = item.after
        try:
            if isinstance(after, bool) or not isinstance(after, int | float) or not 0 <= after < math.inf:
                raise WrongResult(f"Handled(after) must be seconds, found {_show(after)}")
            own.take(item.results)
            if own.deliveries or own.skip:
                raise WrongResult("Handled(results) holds a Handled or a Skip")
            if item.outcome in ("filtered", "rejected") and (own.runs or own.partitions or own.reports):
                raise WrongResult(f"Handled(results) of a delivery that is {item.outcome}, and not admitted")
            for run in own.runs:
                self._checked(run)
        except Exception as error:  # what `results` raises is the plugin's too
            said = str(error) if isinstance(error, (WrongResult, FreshetError)) else f"{type(error).__name__}: {error}"
            self.deliveries.append([delivery.number, "failed", said, [], [], [], 0.0])
        else:
            found = own.runs, own.partitions, own.reports
            self.deliveries.append([delivery.number, item.outcome, reason, *found, float(after)])
        self._handled.add(number)

    def take(self, returned: Any) -> None:
        """What a sensor returned: nothing, one result, or an iterable of results."""
        if returned is None:
            return
        if is_a(returned, Iterable) and not is_a(returned, str, bytes, Mapping):
            for item in returned:
                self.add(item)
        else:
            self.add(returned)

    async def take_async(self, returned: Any) -> None:
        """`take`, for what may also be an async iterable."""
        if is_a(returned, AsyncIterable):
            async for item in returned:
                self.add(item)
        else:
            self.take(returned)

    def _add_partitions(self, item: AddPartitions) -> None:
        name = _set_name(item.set, "AddPartitions")
        keys: Any = item.keys
        if is_a(keys, str) or not is_a(keys, Iterable):
            raise NotPlain(f"AddPartitions(keys) must be a dict or an iterable of keys, found {_show(keys)}")
        pairs: Iterable[tuple[Any, Any]] = keys.items() if is_a(keys, Mapping) else ((key, {}) for key in keys)
        added = [[_key(key), _metadata(metadata, f"metadata of {key!r}")] for key, metadata in pairs]
        last = self.partitions[-1] if self.partitions else None
        if last is not None and last[0] == name and not last[2]:
            last[1].extend(added)
        elif added:
            self.partitions.append([name, added, []])

    def _delete_partitions(self, item: DeletePartitions) -> None:
        name = _set_name(item.set, "DeletePartitions")
        keys: Any = item.keys
        if is_a(keys, str) or not is_a(keys, Iterable):
            raise NotPlain(f"DeletePartitions(keys) must be an iterable of keys, found {_show(keys)}")
        deleted = [_key(key) for key in keys]
        last = self.partitions[-1] if self.partitions else None
        if last is not None and last[0] == name and not last[1]:
            last[2].extend(deleted)
        elif deleted:
            self.partitions.append([name, [], deleted])


def _run(item: RunRequest) -> list[Json]:
    priority: Any = item.priority
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise NotPlain(f"RunRequest(priority) must be a whole number, found {_show(priority)}")
    if abs(priority) > PRIORITY_MAX:
        raise NotPlain(f"RunRequest(priority) must lie within {PRIORITY_MAX:,} of 0, found {_show(priority)}")
    tags: Any = item.tags
    if not is_a(tags, Mapping):
        raise NotPlain(f"RunRequest(tags) must be a dict, found {_show(tags)}")
    run_key = None if item.run_key is None else plain_text(item.run_key, "RunRequest(run_key)")
    if run_key == "":
        raise NotPlain("RunRequest(run_key) is empty: leave it out, or name what the run stands for")
    return [
        None if item.target is None else _name(item.target, "RunRequest(target)"),
        None if item.partition is None else _key(item.partition),
        run_key,
        _metadata(item.params, "RunRequest(params)"),
        {plain_text(key, "a tag"): plain_text(value, f"the tag {key!r}") for key, value in tags.items()},
        priority,
        *_cause(item.cause),
    ]


def _cause(given: Any) -> list[Json]:
    if given is None:
        return []
    if not isinstance(given, Happened):
        raise NotPlain(f"RunRequest(cause) must be an event that `ctx.events()` gave, found {_show(given)}")
    return [[given.depth, given.run]]


def _report(item: Report) -> list[Json]:
    return [
        _name(item.asset, "Report(asset)"),
        None if item.partition is None else _key(item.partition),
        _metadata(item.metadata, "Report(metadata)"),
        None if item.data_version is None else check_version(item.data_version, what="Report(data_version)"),
        None if item.at is None else moment_told(item.at, what="Report(at)"),
    ]


def _name(given: Any, what: str) -> str:
    """A name, or the name of the asset or job given itself."""
    return plain_text(getattr(getattr(given, "spec", None), "name", given), what)


def _set_name(given: Any, what: str) -> str:
    return plain_text(getattr(given, "name", given), f"{what}(set)")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise NotPlain(f"a partition key must be a text, found {_show(key)}")
    return check_key(key)


def _metadata(value: Any, what: str) -> dict[str, Json]:
    if not isinstance(value, Mapping):
        raise NotPlain(f"{what} must be a dict, found {_show(value)}")
    copied: dict[str, Json] = plain(value, what)
    return copied


def _show(value: object) -> str:
    return f"{repr(value)[:100]} ({type(value).__name__})"
