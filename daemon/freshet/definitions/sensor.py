"""Sensors: what looks at the world."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from types import NoneType
from typing import Any, Literal, Unpack, overload

from freshet.definitions.asset import Asset
from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect, expect_function, expect_takes_ctx
from freshet.definitions.flow import Flow, SensorOptions, flow_of
from freshet.definitions.intake import Intake
from freshet.definitions.job import Job
from freshet.definitions.listen import Listen
from freshet.definitions.names import check_name
from freshet.definitions.outcome import Json
from freshet.definitions.partitions import DynamicPartitions
from freshet.definitions.source import Source, caller_source, collect
from freshet.errors import DefinitionError

__all__ = ["FunctionSensor", "Hints", "Sensor", "SensorSpec", "ability", "sensor"]

Hints = Iterable[str] | None
"""What a wake may carry: the changed items (paths, keys); None asks for a full look."""


@dataclass(frozen=True)
class SensorSpec:
    """A sensor as plain data: everything the daemon knows of it. Durations are seconds. `gives`: the parameters that
    each of its requests has, and no others; None where that is not known beforehand."""

    name: str
    type: str
    interval: float = 30.0
    timeout: float = 60.0
    target: str | None = None
    partitions: str | None = None
    wakes: bool = False
    options: dict[str, Json] = field(default_factory=dict[str, Json])
    doc: str = ""
    source: Source | None = None
    intake: Intake | None = None
    flow: Flow = field(default_factory=Flow)
    listens: Listen | None = None
    gives: tuple[str, ...] | None = None
    was: str | None = None


class Sensor:
    """The full form: subclass it, and write `evaluate`.

    `evaluate(ctx)` may be an `async def`, a `def` (it runs in a thread), or a generator of either; it yields
    or returns `RunRequest`, `AddPartitions`, `DeletePartitions`, `Report`, `Skip`.

    Optional, and used where a subclass has them:
    `wakes()`: an async iterator of hints, each of which makes a tick happen now;
    `open()` and `close()`: async, around the sensor's life in one evaluator;
    `arrival(path, at)`: for `freshet simulate`, what the sensor would yield of a file that arrives at `at` (seconds
    since 1970) under `path` (relative to `root`), nothing where it does not watch it. Pure: it looks at nothing else.

    Every sensor takes these options for the runs that it asks for:
    `debounce`: a request waits until no further one for the same target and partition has come for that long; the
    last one runs, and stands for those before it. `batch`: requests for the same target wait for each other, and
    become one run with `params={"items": [...]}`, the params of each in order: `Batch(count=100, within="10s")`,
    a count, or how long the first waits at the most. `throttle`: so many runs in a period at the most, "10/min" or
    "1/30s", in order; the rest waits. What waits is kept in the store, with its run key taken; it waits on while
    the sensor is paused.

    `overlap`: what becomes of a run that is asked for while one of the same sensor, target and partition is queued
    or under way. "allow": it runs beside it. "skip": it is dropped. "queue": it waits until those before it have
    ended. "latest": those that are still queued are canceled. "cancel": those under way, too.

    `run_key`, `partition`, `params`: templates for what a request leaves out: texts with the fields `{partition}`,
    `{target}`, `{params.NAME}`, `{tags.NAME}` and `{metadata.NAME}`, of the partition where it is added together
    with the request; `{NAME}` is looked for in metadata, params and tags. In `params`, a text that is one field
    becomes what that is, a number a number. A request without such a field is a failure of the look.

    `was`: the name that it had before: its cursor, ledger, history and what waits go with it.

    `resources`: the names of the resources that its looks need, for a subclass to say: they are in `ctx.resources`.
    `optional`: those of them that need not be declared.
    """

    resources: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()

    def __init__(
        self,
        name: str,
        *,
        interval: Duration = "30s",
        timeout: Duration = "60s",
        target: object = None,
        partitions: DynamicPartitions | None = None,
        options: dict[str, Json] | None = None,
        intake: Intake | None = None,
        listens: Listen | None = None,
        gives: Iterable[str] | None = None,
        **flow: Unpack[SensorOptions],
    ) -> None:
        """`target`: an asset or job, or its name. `options`: what to show of the sensor's own settings; no secrets.
        `intake`: what it takes in over HTTP; each delivery wakes it, and waits for it in `ctx.inbox()`.
        `listens`: events that wake it as they are committed; it reads them with `ctx.events()`. `gives`: the parameters
        that each of its requests has, and no others: a job that takes others is refused when it is loaded."""
        check_name(name, what=type(self).__name__, identifier=False)
        every = parse_duration(interval, what=f"{name}: interval")
        if every < 0.01:
            raise DefinitionError(f"{name}: interval {interval!r} is too short", hint="the shortest is 10ms")
        limit = parse_duration(timeout, what=f"{name}: timeout")
        if limit <= 0:
            raise DefinitionError(f"{name}: timeout must be more than zero", hint='for example timeout="60s"')
        expect(options, (dict, NoneType), f"{name}: options")
        expect(
            partitions,
            (DynamicPartitions, NoneType),
            f"{name}: partitions",
            f'write DynamicPartitions("{_meant(partitions)}")',
        )
        expect(intake, (Intake, NoneType), f"{name}: intake", 'write Intake(path="orders", secret="env:ORDERS_SECRET")')
        self.name = name
        self.partitions = partitions
        self.spec = SensorSpec(
            name=name,
            type=type(self).__name__,
            interval=every,
            timeout=limit,
            target=target_name(target, what=name),
            partitions=partitions.name if partitions else None,
            wakes=ability(self, "wakes") is not None,
            options=options or {},
            doc=(type(self).__doc__ or "").strip().partition("\n")[0],
            source=caller_source(),
            intake=intake,
            was=expect(flow.get("was"), (str, NoneType), f"{name}: was"),
            flow=flow_of(name, **flow),
            listens=expect(listens, (Listen, NoneType), f"{name}: listens", 'write Listen("materialized", ["orders"])'),
            gives=None if gives is None else tuple(gives),
        )
        collect(self)

    def evaluate(self, ctx: Any) -> Any:
        """Look at the world and say what is new. See the class."""
        raise NotImplementedError(f"{type(self).__name__} has no evaluate(ctx)")


class FunctionSensor(Sensor):
    """A sensor made of one function by `@sensor`."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        super().__init__(**options)
        self.function = function
        beside = _beside_ctx(function)
        self.resources = tuple(one.name for one in beside)
        self.optional = frozenset(one.name for one in beside if one.default is not one.empty)

    def evaluate(self, ctx: Any) -> Any:
        """Call the function."""
        return self.function(ctx, **ctx.resources) if self.resources else self.function(ctx)

    def __call__(self, ctx: Any, *args: Any, **kwargs: Any) -> Any:
        """The plain function, for tests."""
        return self.function(ctx, *args, **kwargs)


@overload
def sensor(function: Callable[..., Any], /) -> FunctionSensor: ...


@overload
def sensor(
    *,
    name: str | None = None,
    interval: Duration = "30s",
    timeout: Duration = "60s",
    target: object = None,
    partitions: DynamicPartitions | None = None,
    **flow: Unpack[SensorOptions],
) -> Callable[[Callable[..., Any]], FunctionSensor]: ...


def sensor(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    interval: Duration = "30s",
    timeout: Duration = "60s",
    target: object = None,
    partitions: DynamicPartitions | None = None,
    **flow: Unpack[SensorOptions],
) -> Any:
    """Make a function a sensor: `@sensor`, or `@sensor(interval="5s")`. `flow`: `debounce`, `batch`, `throttle`,
    `overlap`, `run_key`, `partition`, `params`, `was`: see `Sensor`. Parameters of the function after `ctx` are
    resources, by name: opened once in the sensors' process, for all looks of all sensors there, which may be in several
    threads; what opening one raises is a failure of the look."""

    def make(wrapped: Callable[..., Any]) -> FunctionSensor:
        expect_function(wrapped, "@sensor")
        expect_takes_ctx(wrapped, f"sensor {name or wrapped.__name__}", [one.name for one in _beside_ctx(wrapped)])
        made = FunctionSensor(
            wrapped,
            name=name or wrapped.__name__,
            interval=interval,
            timeout=timeout,
            target=target,
            partitions=partitions,
            **flow,
        )
        doc = (wrapped.__doc__ or "").strip().partition("\n")[0]
        code = wrapped.__code__
        source = Source(code.co_filename, code.co_firstlineno)
        made.spec = replace(made.spec, doc=doc, type="sensor", source=source)
        return made

    return make if function is None else make(function)


def ability(sensor: Sensor, name: Literal["wakes", "open", "close"]) -> Callable[[], Any] | None:
    """A sensor's optional method, None where it has none."""
    found: Callable[[], Any] | None = getattr(sensor, name, None)
    return found


def target_name(target: object, *, what: str) -> str | None:
    """The name of an asset or job given by itself or by name."""
    if target is None or isinstance(target, str):
        return target
    if not isinstance(target, Asset | Job):
        raise DefinitionError(f"{what}: target {target!r} is no asset or job", hint="give an asset, a job or a name")
    return target.spec.name


def _beside_ctx(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters after the first that have a name to be given by."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]


def _meant(partitions: object) -> str:
    """The name that a set was to have, for a hint."""
    name = partitions if isinstance(partitions, str) else getattr(partitions, "name", None)
    return name if isinstance(name, str) else "name"
