"""What is given of a wrong type is refused where it stands, with what was meant."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from freshet import (
    AutomationCondition,
    Dep,
    DynamicPartitions,
    Freshness,
    Last,
    Retries,
    Schedule,
    Sensor,
    StaticPartitions,
    TimePartitions,
    asset,
    job,
    schedule,
    sensor,
)
from freshet.errors import DefinitionError


def plain() -> None: ...


def look(ctx: Any) -> None: ...


def on_asset(**given: Any) -> Callable[[], object]:
    return lambda: asset(**given)(plain)


def on_job(**given: Any) -> Callable[[], object]:
    return lambda: job(**given)(plain)


def on_sensor(**given: Any) -> Callable[[], object]:
    return lambda: sensor(**given)(look)


def untyped(function: Any, *args: Any, **given: Any) -> Callable[[], object]:
    return lambda: function(*args, **given)


MISSING = AutomationCondition.missing()
WRONG: list[tuple[Callable[[], object], str, str]] = [
    (
        on_asset(partitions="batches"),
        "asset plain: partitions takes DynamicPartitions, StaticPartitions, TimePartitions or MultiPartitions, "
        "not 'batches'",
        'DynamicPartitions("batches")',
    ),
    (untyped(Dep, "up", mapping="last"), "mapping takes", "Last()"),
    (untyped(Dep, "up", mapping=Last), "mapping takes", "Last(...)"),
    (untyped(Dep, job(plain)), "not an asset", ""),
    (on_asset(freshness="1h"), "freshness takes Freshness, not '1h'", 'Freshness(within="1h")'),
    (on_asset(retries="three"), "retries takes a whole number or Retries, not 'three'", "retries=3"),
    (on_asset(retries=True), "retries takes", ""),
    (on_asset(automation=AutomationCondition.eager), "automation takes AutomationCondition", "call it: eager()"),
    (on_asset(automation="eager"), "automation takes", "AutomationCondition.eager()"),
    (untyped(MISSING.__or__, AutomationCondition.eager), "takes AutomationCondition", "call it: eager()"),
    (untyped(MISSING.__and__, "eager"), "takes AutomationCondition", ""),
    (untyped(MISSING.since, "eager"), "since() takes AutomationCondition", ""),
    (on_asset(deps="abc"), "deps takes a list, not 'abc'", 'deps=["abc"]'),
    (on_asset(deps=Dep("abc")), "deps takes a list", ""),
    (on_asset(deps=[3]), "not an asset", ""),
    (on_asset(tags={"a": 1}), "tags['a'] takes a text, not 1", "tags="),
    (on_asset(tags={1: "a"}), "tags: a key takes a text, not 1", ""),
    (on_asset(tags=["a"]), "tags takes a dict", ""),
    (on_asset(timeout=5), "timeout: expected a duration, found 5", '"30s"'),
    (on_asset(io=5), "io takes a text, not 5", ""),
    (on_asset(group=5), "group takes a text, not 5", ""),
    (on_asset(version=1.5), "version takes a text, not 1.5", ""),
    (on_asset(pool=5), "pool takes a text", ""),
    (on_asset(priority="high"), "priority: expected a whole number", ""),
    (on_asset(name=5), "asset: the name takes a text, not 5", ""),
    (untyped(asset, "orders"), "@asset takes a function, not 'orders'", "@asset(name=...)"),
    (untyped(asset, asset(plain)), "@asset takes a function", "plain def"),
    (untyped(asset, functools.partial(print)), "@asset takes a function", "plain def"),
    (untyped(job, "orders"), "@job takes a function, not 'orders'", "@job(name=...)"),
    (on_job(retries="three"), "job plain: retries takes", "retries=3"),
    (on_job(tags={"a": None}), "job plain: tags['a'] takes a text", ""),
    (on_job(group=5), "job plain: group takes a text", ""),
    (on_job(pool=5), "job plain: pool takes a text", ""),
    (on_job(timeout=5), "timeout: expected a duration", ""),
    (untyped(Retries, "3"), "Retries(max=) takes a whole number, not '3'", ""),
    (untyped(Retries, 3, backoff="2"), "Retries(backoff=) takes a number, not '2'", ""),
    (untyped(Retries, 3, jitter=None), "Retries(jitter=) takes", ""),
    (on_sensor(partitions="batches"), "look: partitions takes DynamicPartitions, not 'batches'", "DynamicPartitions("),
    (on_sensor(partitions=StaticPartitions(["a"])), "partitions takes DynamicPartitions", ""),
    (on_sensor(target=5), "target 5 is no asset or job", ""),
    (on_sensor(target=plain), "is no asset or job", ""),
    (on_sensor(target=sensor(look)), "is no asset or job", ""),
    (on_sensor(interval=5), "interval: expected a duration", ""),
    (untyped(sensor, "5s"), "@sensor takes a function, not '5s'", ""),
    (untyped(Sensor, 5), "Sensor: the name takes a text", ""),
    (untyped(Sensor, "s", options=["a"]), "s: options takes a dict", ""),
    (
        untyped(StaticPartitions, "colors", ["red"]),
        "StaticPartitions: keys takes a list, not 'colors'",
        'name="colors"',
    ),
    (untyped(StaticPartitions, "colors"), "keys takes a list", 'StaticPartitions([...], name="colors")'),
    (untyped(StaticPartitions, [1, 2]), "StaticPartitions: a key takes a text, not 1", ""),
    (untyped(StaticPartitions, 5), "keys takes a list", ""),
    (untyped(DynamicPartitions, ["a"]), "DynamicPartitions: the name takes a text", ""),
    (untyped(TimePartitions, 5, start="2026-01-01"), "the cadence is not a text", ""),
    (untyped(TimePartitions, "daily", start=5), "start", ""),
    (untyped(TimePartitions, "daily", start="2026-01-01", timezone=5), "timezone 5 is not a text", ""),
    (untyped(Schedule, "s", cron=5, target="a"), "cron 5 is not a text", ""),
    (untyped(Schedule, "s", every=5, target="a"), "every: expected a duration", ""),
    (untyped(Schedule, "s", cron="@daily", timezone=5, target="a"), "timezone 5 is not a text", ""),
    (untyped(Schedule, "s", cron="@daily", target=5), "target 5 is no asset or job", ""),
    (untyped(Schedule, "s", cron="@daily", target="a", misfire=["x"]), "misfire=['x']", ""),
    (untyped(Schedule, "s", cron="@daily", target="a", params=["x"]), "params takes a dict", ""),
    (untyped(schedule(cron="@daily", target="a"), "x"), "@schedule takes a function", ""),
    (untyped(Freshness, 5), "within=", '"30s"'),
]


@pytest.mark.parametrize(("declare", "said", "hint"), WRONG, ids=lambda one: one if isinstance(one, str) else "")
def test_it_is_refused_where_it_stands(declare: Callable[[], object], said: str, hint: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        declare()
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_the_place_is_the_plugins() -> None:
    frame = inspect.currentframe()
    assert frame is not None
    with pytest.raises(DefinitionError) as caught:
        Dep("up", mapping="last")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert (caught.value.file, caught.value.line) == (__file__, frame.f_lineno - 1)


class Unshowable:
    def __repr__(self) -> str:
        raise ValueError


def test_what_cannot_be_shown_and_what_is_long_is_refused_all_the_same() -> None:
    with pytest.raises(DefinitionError, match=r"__repr__ raised ValueError"):
        on_asset(io=Unshowable())()
    with pytest.raises(DefinitionError) as caught:
        on_asset(io=list(range(1000)))()
    assert len(caught.value.message) < 200


def nothing() -> None: ...
def two(ctx: Any, more: Any) -> None: ...
def named(*, ctx: Any) -> None: ...
def lenient(ctx: Any, more: int = 1) -> None: ...
def any_of_them(*args: Any) -> None: ...


@pytest.mark.parametrize("function", [nothing, named])
def test_a_sensor_whose_function_cannot_take_ctx_is_refused(function: Callable[..., None]) -> None:
    with pytest.raises(DefinitionError, match=f"sensor {function.__name__} is called with ctx alone") as caught:
        sensor(function)
    assert (caught.value.file, caught.value.line) == (__file__, function.__code__.co_firstlineno)


@pytest.mark.parametrize("function", [look, two, lenient, any_of_them])
def test_a_sensor_whose_function_takes_ctx_is_fine(function: Callable[..., None]) -> None:
    sensor(name="fine")(function)


def test_a_schedules_body_takes_ctx_or_nothing() -> None:
    def body(ctx: Any, more: Any) -> Any:
        return [ctx, more]

    with pytest.raises(DefinitionError, match="schedule body is called with ctx alone"):
        schedule(cron="@daily")(body)
    schedule(cron="@daily", target="a")(nothing)
