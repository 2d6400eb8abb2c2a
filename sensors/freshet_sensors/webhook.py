"""WebhookSensor: deliveries over HTTP become runs.

The daemon verifies, keeps and answers them, whatever happens here; this looks at what waits, in the order of arrival.
A delivery whose `map`, `filter` or parameters fail is tried again with the next full look, and parked after the third
time; one that asks for patience is put off; those behind it go on.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack, cast

from freshet import (
    AddPartitions,
    DefinitionError,
    DeletePartitions,
    Delivery,
    Duration,
    DynamicPartitions,
    Encoding,
    GiveUp,
    Handled,
    Intake,
    Report,
    RetryLater,
    RunRequest,
    SchemeName,
    Sensor,
    SensorContext,
    SensorOptions,
)

__all__ = ["Mapped", "WebhookSensor"]

Result = RunRequest | AddPartitions | DeletePartitions | Report
Mapped = Result | Iterable[Result] | None
"""What `map` may return."""

_RESULTS = "RunRequest, AddPartitions, DeletePartitions, Report, several of these, or None"
_BATCH = 250
"""Deliveries that commit together at the most."""


class WebhookSensor(Sensor):
    """Asks for a run of `target` for each delivery to `/hooks/PATH`.

    `path`, `scheme`, `secret`, `header`, `prefix`, `encoding`, `id_from`, `max_body`, `tolerance`, `observe`: how
    deliveries are verified and told apart; see `freshet.Intake`. GitHub signs the body alone: another delivery with an
    equal body is taken for a replay of the first, whatever its id and event, is answered 200, and runs nothing.
    `target`: an asset or job.

    Without `map`, the payload must be an object: it is the run's parameters. `map(payload)` or `map(payload, delivery)`
    returns a `RunRequest`, `AddPartitions`, `DeletePartitions` or `Report`, an iterable of these, or None: nothing is
    to be done. Runs of a delivery get run keys of their own (`NAME:DELIVERY`), so that no replay runs twice what ran.
    `filter(payload)` or `filter(payload, delivery)`: false leaves the delivery out. Both may be `async def`; `GiveUp`
    raised by one rejects the delivery for good, `RetryLater(after=)` puts it off (an hour at the most, and no failure
    until a day after it came), anything else counts as an attempt. The payload of a CloudEvent is its
    `data`; its attributes are in `delivery.event`.

    `interval`: how often a delivery that failed is tried again.
    """

    def __init__(
        self,
        name: str,
        *,
        path: str,
        scheme: SchemeName = "standard-webhooks",
        secret: str | Sequence[str] = (),
        target: object = None,
        map: Callable[..., Mapped | Awaitable[Mapped]] | None = None,
        filter: Callable[..., bool | Awaitable[bool]] | None = None,
        header: str | None = None,
        prefix: str = "",
        encoding: Encoding = "hex",
        id_from: str | None = None,
        max_body: int = 1 << 20,
        tolerance: Duration | float = 300.0,
        observe: bool = False,
        partitions: DynamicPartitions | None = None,
        interval: Duration = "30s",
        timeout: Duration = "60s",
        **flow: Unpack[SensorOptions],
    ) -> None:
        try:
            intake = Intake(path, scheme, secret, header, prefix, encoding, id_from, max_body, tolerance, observe)
        except DefinitionError as error:
            raise DefinitionError(f"{name}: {error.message}", hint=error.hint) from None
        if target is None and map is None:
            raise DefinitionError(f"{name}: what is to be done?", hint="give a target=, or map= a function")
        self._map = _taking(map, f"{name}: map")
        self._filter = _taking(filter, f"{name}: filter")
        super().__init__(
            name,
            interval=interval,
            timeout=timeout,
            target=target,
            partitions=partitions,
            options={"path": path, "scheme": scheme, "observe": observe},
            intake=intake,
            **flow,
        )

    async def evaluate(self, ctx: SensorContext) -> AsyncIterator[Handled]:
        """Look at what waits; what commits together is what was handed out together."""
        more = True
        while more:
            waiting = await ctx.inbox(_BATCH)
            for delivery in waiting:
                yield await self._handled(delivery)
            more = waiting.more
            if more:
                await ctx.checkpoint()

    async def _handled(self, delivery: Delivery) -> Handled:
        try:
            payload = delivery.payload
        except ValueError as error:
            return Handled(delivery, "rejected", f"the body cannot be read: {error}")
        try:
            if self._filter is not None and not await self._filter(payload, delivery):
                return Handled(delivery, "filtered", "left out by filter")
            results = await self._results(payload, delivery)
        except GiveUp as error:
            return Handled(delivery, "rejected", str(error) or "given up")
        except RetryLater as error:
            return Handled(delivery, "later", f"put off: {error}", after=error.after)
        except Exception as error:  # whatever the plugin's function raises is this delivery's failure
            return Handled(delivery, "failed", f"{type(error).__name__}: {error}")
        if not results:
            return Handled(delivery, "filtered", "map gave nothing to do")
        return Handled(delivery, "admitted", results=self._keyed(results, delivery))

    async def _results(self, payload: Any, delivery: Delivery) -> list[Result]:
        if self._map is not None:
            mapped: Any = await self._map(payload, delivery)
            if mapped is None:
                return []
            if isinstance(mapped, RunRequest | AddPartitions | DeletePartitions | Report):
                return [mapped]
            if isinstance(mapped, str | bytes | Mapping) or not isinstance(mapped, Iterable):
                raise TypeError(f"map returned {mapped!r:.100} ({type(mapped).__name__}); return {_RESULTS}")  # pyright: ignore[reportUnknownArgumentType]
            return list(cast("Iterable[Result]", mapped))  # what is none of them is said where it is
        if not isinstance(payload, dict):
            raise GiveUp(f"the payload is no object but {type(payload).__name__}: give the sensor a map=")
        return [RunRequest(params=cast("dict[str, Any]", payload))]

    def _keyed(self, results: list[Result], delivery: Delivery) -> list[Result]:
        """Each run with a key of its own: where `map` gave none, and no template `run_key=` says it, the delivery's,
        counted from the second on."""
        keyed: list[Result] = []
        for number, one in enumerate(results, 1):
            if isinstance(one, RunRequest) and one.run_key is None and self.spec.flow.run_key is None:
                own = f"{self.name}:{delivery.id}" + (f"#{number}" if number > 1 else "")
                keyed.append(replace(one, run_key=own))
            else:
                keyed.append(one)
        return keyed


def _taking(function: Callable[..., Any] | None, what: str) -> Callable[[Any, Delivery], Awaitable[Any]] | None:
    """The function as a coroutine of payload and delivery, whether it takes one of them or both."""
    if function is None:
        return None
    if not callable(function):
        raise DefinitionError(f"{what} takes a function, not {function!r}", hint="for example map=lambda payload: ...")
    both = _takes_both(function, what)

    async def call(payload: Any, delivery: Delivery) -> Any:
        result = function(payload, delivery) if both else function(payload)
        return await result if inspect.isawaitable(result) else result

    return call


def _takes_both(function: Callable[..., Any], what: str) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built in C: they take the payload
        return False
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count == 2
    raise DefinitionError(f"{what} is called with the payload, or with payload and delivery", hint=f"found {signature}")
