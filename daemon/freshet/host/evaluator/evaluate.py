"""One look of one sensor, whatever its form: from the sensor and a `ctx` to an outcome. No sockets, no processes."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, Literal

from freshet.definitions.outcome import GiveUp, RetryLater, patience
from freshet.definitions.sensor import FunctionSensor, Sensor
from freshet.host.evaluator.context import EvaluatorContext, LookEnded
from freshet.host.evaluator.failure import describe
from freshet.host.evaluator.outcome import Found, Outcome, Status

__all__ = ["Form", "Why", "blocking_look", "failed_look", "finish_look", "form_of", "look", "partial_look", "with_told"]

Form = Literal["async", "thread"]
Why = Literal["timeout", "cancel"] | None
"""Why a look was cancelled from outside, None where it was not."""
_FAILED = ("failed", "timed_out", "given_up")


def form_of(sensor: Sensor) -> Form:
    """Whether `evaluate` runs on the event loop (`async def`, async generator) or blocks and needs a thread."""
    function: Any = sensor.function if isinstance(sensor, FunctionSensor) else sensor.evaluate
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = getattr(function, "__call__", function)  # noqa: B004  # an object that is called: its method tells
    function = inspect.unwrap(function)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "async"
    return "thread"


async def look(sensor: Sensor, ctx: EvaluatorContext, found: Found) -> None:
    """Evaluate an async sensor, on the event loop. Raises what the plugin raises."""
    begun: Any = sensor.evaluate(ctx)
    if inspect.isawaitable(begun):
        begun = await begun
    if begun is not None:
        await _take(begun, found)


def blocking_look(sensor: Sensor, ctx: EvaluatorContext, found: Found) -> Callable[[], Awaitable[None]] | None:
    """Evaluate a `def` sensor, in a thread. Raises what the plugin raises.

    Where it returned something to await (a decorator around an `async def`), what is left to do on the event loop
    is returned.
    """
    begun: Any = sensor.evaluate(ctx)
    if inspect.isawaitable(begun) or isinstance(begun, AsyncIterator):
        return functools.partial(_rest, begun, found)
    try:
        found.take(begun)
    finally:
        if inspect.isgenerator(begun):
            begun.close()
    return None


async def _rest(begun: Any, found: Found) -> None:
    if inspect.isawaitable(begun):
        begun = await begun
    await _take(begun, found)


async def _take(begun: Any, found: Found) -> None:
    """A generator left early (a wrong result, cancellation) is closed here, so that its `finally` runs in this look."""
    try:
        await found.take_async(begun)
    finally:
        if inspect.isasyncgen(begun):
            await begun.aclose()
        elif inspect.isgenerator(begun):
            begun.close()


def partial_look(ctx: EvaluatorContext, found: Found, status: Status = "checkpoint") -> Outcome:
    """What was found so far. Raises `NotPlain` where the cursor is no JSON, `ValueError` where a delivery is handled
    that the look was not given."""
    ctx.check_given(number for number, *_ in found.deliveries)
    ledger = ctx.used_ledger()
    return Outcome(
        status=status,
        cursor=ctx.new_cursor(),
        ledger=None if ledger is None else ledger.change(),
        runs=found.runs or None,
        partitions=found.partitions or None,
        reports=found.reports or None,
        deliveries=found.deliveries or None,
        skip=found.skip,
        waiting=found.waiting or None,
        lag=ctx.told_lag(),
        notice=ctx.told_notice(),
        cause=found.cause,
    )


def finish_look(ctx: EvaluatorContext, found: Found) -> Outcome:
    """The outcome of a look that came to its end."""
    try:
        return partial_look(ctx, found, "ok")
    except Exception as error:  # a cursor that is no JSON, or whose __eq__ or __repr__ raises
        return Outcome(status="failed", error=describe(error))


def with_told(outcome: Outcome, ctx: EvaluatorContext | None, found: Found) -> Outcome:
    """Also a look that failed has said what waits, and how it stands: then most of all it counts. And which deliveries
    it had in hand: the failure is none of the others' doing."""
    if ctx is None:
        return outcome
    if outcome.status in _FAILED:
        outcome = replace(outcome, in_hand=ctx.in_hand(found.handled))
    if ctx.told_lag() is None and ctx.told_notice() is None:
        return outcome
    return replace(outcome, lag=ctx.told_lag(), notice=ctx.told_notice())


def failed_look(error: BaseException, why: Why, *, timeout: float) -> Outcome:
    """The outcome of a look that raised: whatever it was, it is the plugin's."""
    if isinstance(error, LookEnded) or why == "cancel":
        return Outcome(status="abandoned")
    if why == "timeout":
        described = describe(error)
        described["type"] = "TimeoutError"
        described["message"] = f"took longer than its timeout of {timeout:g} s"
        return Outcome(status="timed_out", error=described)
    if isinstance(error, RetryLater):
        return Outcome(status="later", after=patience(error), error=describe(error))
    if isinstance(error, GiveUp):
        return Outcome(status="given_up", error=describe(error))
    if isinstance(error, asyncio.CancelledError):
        described = describe(error)
        described["message"] = "the sensor was cancelled from within: something it awaited was cancelled"
        return Outcome(status="failed", error=described)
    return Outcome(status="failed", error=describe(error))
