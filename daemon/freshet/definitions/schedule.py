"""Schedules: what the clock starts."""

from __future__ import annotations

import dis
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from types import FunctionType, NoneType
from typing import Any, Literal, get_args

from freshet.definitions.cron import check_cron
from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect, expect_function, expect_takes_ctx
from freshet.definitions.flow import Overlap
from freshet.definitions.instants import CronTimes, EveryTimes, Times
from freshet.definitions.names import check_name, nearest_hint
from freshet.definitions.outcome import Json
from freshet.definitions.sensor import target_name
from freshet.definitions.source import Source, caller_source, collect
from freshet.definitions.zones import check_zone
from freshet.errors import DefinitionError

__all__ = ["MAX_CATCH_UP", "Misfire", "Overlap", "Schedule", "ScheduleSpec", "schedule"]

Misfire = Literal["latest", "all", "skip"]
MAX_CATCH_UP = 10_000
"""The largest `max_catch_up`."""


@dataclass(frozen=True)
class ScheduleSpec:
    """A schedule as plain data. Exactly one of `cron` (in its normal form) and `every` (milliseconds) is set; durations
    are seconds. `body`: the function has something to say, and must be asked at each tick."""

    name: str
    cron: str | None = None
    every: int | None = None
    timezone: str | None = None
    target: str | None = None
    misfire: Misfire = "latest"
    max_late: float | None = None
    max_catch_up: int = 100
    jitter: float = 0.0
    overlap: Overlap = "allow"
    params: dict[str, Json] = field(default_factory=dict[str, Json])
    timeout: float = 60.0
    body: bool = False
    doc: str = ""
    source: Source | None = None
    was: str | None = None

    @property
    def version(self) -> str:
        """What the ticks' identity holds: it changes with `cron`, `every` and the zone, and with nothing else. Take it
        from the resolved schedule, so that another `timezone` in the configuration is another version."""
        return self._version

    # What is kept under such a name is not described with the schedule.
    @cached_property
    def _version(self) -> str:
        zone = "" if self.cron is None else self.timezone
        return hashlib.sha256(f"{self.cron}|{self.every}|{zone}".encode()).hexdigest()[:16]

    def resolved(self, timezone: str) -> ScheduleSpec:
        """The same with the configuration's zone where none was named."""
        return self if self.timezone is not None else replace(self, timezone=timezone)

    @property
    def times(self) -> Times:
        """When it comes. Raises `ValueError` where the zone is not resolved."""
        return self._times

    @cached_property
    def _times(self) -> Times:
        if self.every is not None:
            return EveryTimes(self.every)
        if self.timezone is None or self.cron is None:
            raise ValueError(f"the zone of the schedule {self.name!r} is not resolved")
        return CronTimes(self.cron, self.timezone)

    @property
    def delay(self) -> float:
        """Seconds by which every tick fires later than its nominal instant: in [0, jitter), by the name."""
        return self._delay

    @cached_property
    def _delay(self) -> float:
        share = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big") / 2**64
        return self.jitter * share


class Schedule:
    """A schedule: made by `@schedule`, or by itself where there is no function: `Schedule("nightly", cron=...)`."""

    def __init__(
        self,
        name: str,
        *,
        cron: str | None = None,
        every: Duration | None = None,
        timezone: str | None = None,
        target: object = None,
        misfire: Misfire = "latest",
        max_late: Duration | None = None,
        max_catch_up: int = 100,
        jitter: Duration = "0s",
        overlap: Overlap = "allow",
        params: dict[str, Json] | None = None,
        timeout: Duration = "60s",
        was: str | None = None,
        function: Callable[..., Any] | None = None,
    ) -> None:
        """See `schedule`."""
        check_name(name, what="schedule", identifier=False)
        what = f"schedule {name}"
        self.name = name
        self.function = function
        expect(params, (dict, NoneType), f"{what}: params")
        if function is not None:
            _check_function(function, what)
        body = function is not None and _says_something(function)
        self.spec = ScheduleSpec(
            name=name,
            **_when(cron, every, what),
            timezone=None if timezone is None else check_zone(timezone, what=what),
            target=target_name(target, what=what),
            misfire=_choice(misfire, Misfire, f"{what}: misfire"),
            max_late=None if max_late is None else parse_duration(max_late, what=f"{what}: max_late"),
            max_catch_up=_check_count(max_catch_up, what),
            jitter=parse_duration(jitter, what=f"{what}: jitter"),
            overlap=_choice(overlap, Overlap, f"{what}: overlap"),
            params=dict(params or {}),
            timeout=parse_duration(timeout, what=f"{what}: timeout"),
            body=body,
            doc=((function.__doc__ if function else None) or "").strip().partition("\n")[0],
            source=_place(function) or caller_source(),
            was=expect(was, (str, NoneType), f"{what}: was"),
        )
        if target is None and not body:
            raise DefinitionError(f"{what}: no target", hint='name an asset or a job: target="sales"')
        collect(self)

    def evaluate(self, ctx: Any) -> Any:
        """Call the function: with `ctx` if it takes one."""
        assert self.function is not None, "a schedule without a body is not asked"
        return self.function(ctx) if self.function.__code__.co_argcount else self.function()

    def __call__(self, *args: Any) -> Any:
        """The plain function, for tests."""
        return None if self.function is None else self.function(*args)

    def __repr__(self) -> str:
        return f"<schedule {self.name}>"


def schedule(
    *,
    cron: str | None = None,
    every: Duration | None = None,
    timezone: str | None = None,
    target: object = None,
    misfire: Misfire = "latest",
    max_late: Duration | None = None,
    max_catch_up: int = 100,
    jitter: Duration = "0s",
    overlap: Overlap = "allow",
    params: dict[str, Json] | None = None,
    timeout: Duration = "60s",
    name: str | None = None,
    was: str | None = None,
) -> Callable[[Callable[..., Any]], Schedule]:
    """Start `target` (an asset, a job, or its name) when the clock says so.

    `cron`: five fields, six with seconds first, or `@daily` and its like, on the clock of `timezone` (None: the
    configuration's). `every`: an interval from 100 milliseconds up, `"10s"` or `"12h"`, counted from
    1970-01-01T00:00Z, so that restarts do not shift it; days and weeks are a cron's, because a local day is not always
    24 hours.

    A function without contents (`...`) requests one run of the target at each tick; on an asset partitioned in time,
    for the partition that the tick closed. One with contents is like a sensor's: it gets `ctx` with
    `ctx.scheduled_time`, and yields or returns run requests.

    `misfire`: what becomes of ticks that passed while the daemon was down: `"latest"` fires the last of them, `"all"`
    all, oldest first, but no more than the last `max_catch_up`, `"skip"` none. A tick later than `max_late` never
    fires. What was skipped is recorded. `jitter`: a delay of up to so much, always the same for the same name.
    `overlap`: what becomes of a run that is due while one of the same schedule, target and partition is queued or
    under way. `"allow"`: it runs beside it. `"skip"`: there is none, and the tick is recorded as skipped. `"queue"`: it
    waits until those before it have ended. `"latest"`: those that are still queued are canceled. `"cancel"`: those
    under way, too. `was`: the name that it had before: what was decided goes with it.

    Raises `DefinitionError` for what cannot be, naming the schedule.
    """

    def make(wrapped: Callable[..., Any]) -> Schedule:
        expect_function(wrapped, "@schedule")
        return Schedule(
            name or wrapped.__name__,
            cron=cron,
            every=every,
            timezone=timezone,
            target=target,
            misfire=misfire,
            max_late=max_late,
            max_catch_up=max_catch_up,
            jitter=jitter,
            overlap=overlap,
            params=params,
            timeout=timeout,
            was=was,
            function=wrapped,
        )

    return make


def _when(cron: str | None, every: Duration | None, what: str) -> dict[str, Any]:
    if (cron is None) == (every is None):
        raise DefinitionError(
            f"{what}: {'neither cron nor every' if cron is None else 'both cron and every'}",
            hint='give one of them: cron="0 6 * * *" or every="10s"',
        )
    if cron is not None:
        return {"cron": check_cron(cron, what=what)}
    assert every is not None
    seconds = parse_duration(every, what=f"{what}: every")
    days = every.days > 0 and seconds % 86400 == 0 if isinstance(every, timedelta) else "d" in every or "w" in every
    if days:
        raise DefinitionError(
            f"{what}: every={every!r} counts days", hint='use cron="0 0 * * *", or hours if real time is meant: "24h"'
        )
    milliseconds = round(seconds * 1000)
    if milliseconds < 100 or abs(milliseconds / 1000 - seconds) > 1e-9:
        raise DefinitionError(f"{what}: every={every!r}", hint="whole milliseconds, at least 100ms")
    return {"every": milliseconds}


def _choice(value: str, choices: Any, what: str) -> Any:
    known: tuple[str, ...] = get_args(choices)
    if value not in known:
        raise DefinitionError(f"{what}={value!r}", hint=nearest_hint(str(value), known))
    return value


def _check_count(value: int, what: str) -> int:
    if type(value) is not int or not 0 < value <= MAX_CATCH_UP:
        raise DefinitionError(f"{what}: max_catch_up={value!r}", hint=f"a whole number from 1 to {MAX_CATCH_UP}")
    return value


def _check_function(function: Callable[..., Any], what: str) -> None:
    expect_function(function, "@schedule")
    if function.__code__.co_argcount:
        expect_takes_ctx(function, what)


def _place(function: Callable[..., Any] | None) -> Source | None:
    return None if function is None else Source(function.__code__.co_filename, function.__code__.co_firstlineno)


# What `def f(): ...` compiles to, in one release of Python or another; `async def` adds its frame.
_NOTHING = {"RESUME", "NOP", "CACHE", "COPY_FREE_VARS", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}
_FRAME = {"RETURN_GENERATOR", "POP_TOP", "CALL_INTRINSIC_1", "RERAISE"}


def _says_something(function: Callable[..., Any]) -> bool:
    """Whether a function has contents beyond `...`, `pass` and a docstring."""
    if not isinstance(function, FunctionType):
        return True
    found = list(dis.get_instructions(function))
    constants = {"LOAD_CONST", "RETURN_CONST"}
    return any(
        one.opname not in _NOTHING | _FRAME or (one.opname in constants and one.argval is not None) for one in found
    )
