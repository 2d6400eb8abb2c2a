"""WebhookSensor, one look at a time: what each delivery asks for, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from freshet import (
    AddPartitions,
    DefinitionError,
    Delivery,
    DynamicPartitions,
    GiveUp,
    Handled,
    Intake,
    RetryLater,
    RunRequest,
    Sensor,
    job,
    sensor,
)
from freshet.executors.base import DeliveryEnd
from freshet.testing import tick
from freshet_sensors import WebhookSensor


def made(**options: Any) -> WebhookSensor:
    given: dict[str, Any] = {"target": "note", **options}
    return WebhookSensor("hook", path="p", scheme="none", **given)


def of(number: int, value: Any) -> Delivery:
    return Delivery(number, f"d{number}", json.dumps(value).encode(), "application/json")


def handled(sensor: WebhookSensor, *deliveries: Delivery) -> tuple[DeliveryEnd, ...]:
    return tick(sensor, deliveries=deliveries).deliveries


def one(sensor: WebhookSensor, delivery: Delivery) -> DeliveryEnd:
    (found,) = handled(sensor, delivery)
    return found


def test_the_payload_is_the_target_s_parameters() -> None:
    found = one(made(), of(1, {"order": 3, "deep": {"a": [1]}}))
    assert (found.id, found.outcome, found.reason) == (1, "admitted", None)
    (run,) = found.runs
    assert (run.params, run.run_key, run.target) == ({"order": 3, "deep": {"a": [1]}}, "hook:d1", None)


@pytest.mark.parametrize(
    ("delivery", "outcome", "reason"),
    [
        (of(1, [1]), "rejected", "the payload is no object but list: give the sensor a map="),
        (of(1, None), "rejected", "no object but NoneType"),
        (Delivery(1, "d", b"{", "application/json"), "rejected", "the body cannot be read"),
        (Delivery(1, "d", b"\xff", "text/plain"), "rejected", "the body cannot be read"),
        (Delivery(1, "d", b"a", "image/png"), "rejected", "no object but bytes"),
        (Delivery(1, "d", b"[]", "application/cloudevents+json"), "rejected", "a CloudEvent must be an object"),
        (Delivery(1, "d", b'{"a": NaN}'), "rejected", "NaN is no JSON"),
        (Delivery(1, "d", b'{"a": 1e999}'), "rejected", "1e999 is no JSON"),
        (Delivery(1, "d", b"[" * 100_000), "rejected", "nested too deep"),
        (Delivery(1, "d", b'{"a": 1, "a": 2}'), "rejected", "the key 'a' stands twice"),
        (Delivery(1, "d", b"payload=NaN", "application/x-www-form-urlencoded"), "rejected", "NaN is no JSON"),
        (Delivery(1, "d", b"payload=" + b"[" * 100_000, "application/x-www-form-urlencoded"), "rejected", "too deep"),
        (Delivery(1, "d", b"[" * 100_000, "application/cloudevents"), "rejected", "nested too deep"),
    ],
)
def test_what_cannot_be_parameters_is_rejected_with_its_reason(delivery: Delivery, outcome: str, reason: str) -> None:
    found = one(made(), delivery)
    assert (found.outcome, found.runs) == (outcome, ())
    assert reason in (found.reason or "")


@pytest.mark.parametrize(
    ("mapped", "says"),
    [({"n": 1}, "{'n': 1} (dict)"), ("note", "'note' (str)"), (b"x", "b'x' (bytes)"), (7, "7 (int)")],
)
def test_what_no_map_may_return_is_said_whole(mapped: Any, says: str) -> None:
    found = one(made(map=lambda payload: mapped), of(1, {}))  # pyright: ignore[reportUnknownLambdaType]
    assert (found.outcome, f"map returned {says}; return RunRequest" in (found.reason or "")) == ("failed", True), found


@pytest.mark.parametrize("where", ["map", "filter"])
def test_one_that_asks_for_patience_is_put_off(where: str) -> None:
    def busy(payload: Any) -> Any:
        raise RetryLater("busy", after="7m")

    found = one(made(**{where: busy}), of(1, {}))
    assert (found.outcome, found.reason, found.after, found.runs) == ("later", "put off: busy", 420.0, ())


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "payload"),
    [
        (b'{"a": 1}', None, {}, {"a": 1}),
        (b'{"a": 1}', "application/vnd.x+json; charset=utf-8", {}, {"a": 1}),
        (b"a=1&b=%C3%BC&c=", "application/x-www-form-urlencoded", {}, {"a": "1", "b": "ü", "c": ""}),
        (b"payload=%7B%22a%22%3A1%7D", "application/x-www-form-urlencoded", {}, {"a": 1}),
        (b"text", "text/plain", {}, "text"),
        (b"\xff", "application/octet-stream", {}, b"\xff"),
        (b'{"specversion": "1.0", "data": {"a": 1}}', "application/cloudevents+json", {}, {"a": 1}),
        (b'{"specversion": "1.0", "data_base64": "/w=="}', "application/cloudevents+json", {}, b"\xff"),
        (b'{"a": 1}', "application/json", {"ce-specversion": "1.0", "ce-type": "t"}, {"a": 1}),
    ],
)
def test_map_gets_what_the_body_says(
    body: bytes, content_type: str | None, headers: dict[str, str], payload: object
) -> None:
    seen: list[object] = []
    one(made(map=seen.append), Delivery(1, "d", body, content_type, headers))
    assert seen == [payload]


def test_the_attributes_of_an_event_are_there_in_both_forms() -> None:
    structured = Delivery(1, "d", b'{"specversion": "1.0", "type": "t", "data": 1}', "application/cloudevents+json")
    binary = Delivery(1, "d", b"1", "application/json", {"ce-specversion": "1.0", "ce-type": "t"})
    assert [(found.event or {})["type"] for found in (structured, binary)] == ["t", "t"]
    assert of(1, {}).event is None


def test_what_map_gives_is_asked_for_each_run_with_a_key_of_its_own() -> None:
    things = DynamicPartitions("things")

    def several(payload: dict[str, Any], delivery: Delivery) -> Any:
        yield AddPartitions(things, {delivery.id: {"n": payload["n"]}})
        yield RunRequest(target="a", partition=delivery.id)
        yield RunRequest(target="a", partition=delivery.id)
        yield RunRequest(target="a", run_key="mine")

    found = one(made(map=several), of(4, {"n": 1}))
    assert [run.run_key for run in found.runs] == ["hook:d4#2", "hook:d4#3", "mine"]
    (delta,) = found.partitions
    assert (delta.set, delta.add) == ("things", (("d4", {"n": 1}),))


async def _later(payload: Any) -> Any:
    return RunRequest(params={"n": payload["n"]})


async def _only_even(payload: Any) -> bool:
    return bool(payload["n"] % 2 == 0)


def test_map_and_filter_may_be_async() -> None:
    found = handled(made(map=_later, filter=_only_even), *(of(number, {"n": number}) for number in (1, 2)))
    assert [(end.outcome, end.reason) for end in found] == [("filtered", "left out by filter"), ("admitted", None)]


def _explode(payload: Any) -> Any:
    if payload["n"] == 1:
        raise ValueError("no")
    if payload["n"] == 2:
        raise GiveUp("never")
    if payload["n"] == 3:
        return "nonsense"
    if payload["n"] == 4:
        return RunRequest(params={"at": object()})
    if payload["n"] == 5:
        return AddPartitions("things", ["."])
    return None if payload["n"] == 6 else RunRequest()


def test_each_delivery_ends_by_itself() -> None:
    found = handled(made(map=_explode), *(of(number, {"n": number}) for number in range(1, 8)))
    assert [end.outcome for end in found] == [
        "failed", "rejected", "failed", "failed", "failed", "filtered", "admitted"
    ]  # fmt: skip
    reasons = [end.reason or "" for end in found]
    assert reasons[0] == "ValueError: no"
    assert reasons[1] == "never"
    assert "map returned 'nonsense' (str)" in reasons[2]
    assert "object" in reasons[3]
    assert "dot" in reasons[4]
    assert all(not end.runs and not end.partitions for end in found[:6])


def _three(a: object, b: object, c: object) -> None: ...


def _none() -> None: ...


def test_many_commit_in_pieces() -> None:
    ticked = tick(made(), deliveries=[of(number, {"n": number}) for number in range(1, 602)])
    assert (len(ticked.deliveries), ticked.checkpoints) == (601, 2)


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"target": None}, "target="),
    ({"map": 3}, "map takes a function"),
    ({"map": _none}, "called with the payload"),
    ({"filter": max, "map": _three}, "called with the payload"),
    ({"path": "../etc"}, "no such path can be"),
    ({"scheme": "githb", "secret": "env:X"}, "did you mean 'github'"),
    ({"scheme": "github"}, "needs a secret"),
    ({"scheme": "github", "secret": "hunter2"}, "the secret itself stands in the plugin"),
]


@pytest.mark.parametrize(("options", "says"), MISTAKES)
def test_mistakes_are_told_at_once(options: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = {"path": "p", "scheme": "none", "target": "note", **options}
    with pytest.raises(DefinitionError) as error:
        WebhookSensor("hook", **given)
    assert says in str(error.value)
    assert "hunter2" not in str(error.value)


def test_the_daemon_is_told_of_the_hook_as_data_and_not_of_secrets() -> None:
    spec = WebhookSensor("hook", path="p", scheme="github", secret="env:X", target="note").spec
    assert spec.intake == Intake("p", "github", "env:X")
    assert spec.options == {"path": "p", "scheme": "github", "observe": False}


def test_a_sensor_without_a_hook_has_no_inbox() -> None:
    @sensor
    async def plain(ctx: Any) -> None:
        await ctx.inbox()

    with pytest.raises(RuntimeError, match="give it intake=Intake"):
        tick(plain)


@job
def note() -> None: ...


def test_a_def_sensor_has_its_inbox_too() -> None:
    class Plain(Sensor):
        def evaluate(self, ctx: Any) -> Any:
            return [Handled(one, "rejected", "no") for one in ctx.inbox_sync(2)]

    found = tick(Plain("plain", intake=Intake("p", "none")), deliveries=[of(number, {}) for number in (1, 2, 3)])
    assert [(end.id, end.outcome) for end in found.deliveries] == [(1, "rejected"), (2, "rejected")]


@pytest.mark.parametrize("limit", ["10", None, 0, -1, 2.5, True, 2**63])
def test_a_limit_that_is_none_fails_the_look_and_never_reaches_the_daemon(limit: Any) -> None:
    @sensor
    async def events(ctx: Any) -> None:
        await ctx.events("run_failed", after=0, limit=limit)

    class Asks(Sensor):
        async def evaluate(self, ctx: Any) -> None:
            await ctx.inbox(limit)

    for asking in (Asks("asks", intake=Intake("p", "none")), events):
        with pytest.raises(ValueError, match="takes a number from 1 up"):
            tick(asking)


@pytest.mark.parametrize("after", [-1, "1", 2**63])
def test_an_event_that_cannot_be_is_refused_where_it_is_named(after: Any) -> None:
    @sensor
    async def events(ctx: Any) -> None:
        await ctx.events("run_failed", after=after)

    with pytest.raises(ValueError, match="takes the number of an event"):
        tick(events)


def test_a_delivery_is_handled_once_in_a_look_also_across_its_checkpoints() -> None:
    class Twice(Sensor):
        async def evaluate(self, ctx: Any) -> Any:
            for one in await ctx.inbox():
                yield Handled(one, results=[RunRequest("note")])
                await ctx.checkpoint()
                yield Handled(one, results=[RunRequest("note")])

    with pytest.raises(TypeError, match="1 was handled in this look already"):
        tick(Twice("twice", intake=Intake("p", "none")), deliveries=[of(1, {})])


@pytest.mark.parametrize("number", ["1", 0, 2**63, None])
def test_a_delivery_that_nobody_gave_is_refused(number: Any) -> None:
    class Forges(Sensor):
        async def evaluate(self, ctx: Any) -> Any:
            yield Handled(Delivery(number, "d", b""))

    with pytest.raises(TypeError, match=r"must be one that `ctx.inbox\(\)` gave, found the number"):
        tick(Forges("forges", intake=Intake("p", "none")))
