"""Deliveries to hooks, as a sensor sees them, and what it may say of each."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl

from freshet.definitions.outcome import AddPartitions, DeletePartitions, Json, Report, RunRequest

__all__ = ["Deliveries", "Delivery", "Handled"]

_STRUCTURED = "application/cloudevents"


@dataclass(frozen=True)
class Delivery:
    """What came to a hook: verified and durable before the sender was answered.

    `number`: in the order of arrival. `id`: what makes it the same delivery when it is sent again. `headers`: names in
    lower case; none that hold a secret or a signature. `attempts`: how often it has failed before.
    """

    number: int
    id: str
    body: bytes
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    attempts: int = 0
    received_at: datetime | None = None

    @cached_property
    def payload(self) -> Json:
        """What it says: the value of JSON, the fields of a form, a text, else the bytes; of a CloudEvent, its `data`.

        A body without a content type is taken for JSON. Raises `ValueError` where it is not what its type says.
        """
        event = self.event
        if event is None or not self._structured:
            return _read(self.body, self.content_type)
        if "data_base64" in event:
            return base64.b64decode(str(event["data_base64"]), validate=True)
        return event.get("data")

    @cached_property
    def event(self) -> Mapping[str, Json] | None:
        """The attributes of a CloudEvent, with `data` where it stands beside them; None for what is none. Raises
        `ValueError` where it says that it is one, and is not."""
        if self._structured:
            found = _read(self.body, "application/json")
            if not isinstance(found, dict):
                raise ValueError(f"a CloudEvent must be an object, found {type(found).__name__}")
            return found  # pyright: ignore[reportUnknownVariableType]  # JSON
        attributes = {name[3:]: value for name, value in self.headers.items() if name.startswith("ce-")}
        return attributes if "specversion" in attributes else None

    @property
    def _structured(self) -> bool:
        return (self.content_type or "").lower().startswith(_STRUCTURED)


class Deliveries(tuple[Delivery, ...]):
    """Some of those that wait, in the order of arrival. `more`: others wait behind them. `when_taken` is called when
    first one is taken out: what fails before that is the doing of none of them."""

    more: bool = False
    when_taken: Callable[[], object] | None = None

    @classmethod
    def of(cls, found: Iterable[Delivery], *, more: bool) -> Deliveries:
        """These, and whether there are more."""
        made = cls(found)
        made.more = more
        return made

    if not TYPE_CHECKING:  # as a tuple's

        def __iter__(self):
            self._take()
            return super().__iter__()

        def __getitem__(self, at):
            self._take()
            return super().__getitem__(at)

        def __add__(self, others):
            return tuple(self) + tuple(others)

        def __radd__(self, others):
            return tuple(others) + tuple(self)

    def _take(self) -> None:
        if self.when_taken is not None:
            self.when_taken()
            self.when_taken = None


@dataclass(frozen=True)
class Handled:
    """What became of a delivery: it commits with all that is in `results`, or neither does.

    `admitted`; `filtered`: not meant for us; `rejected`: it can never be right; `failed`: tried again at the sensor's
    next full look, and parked after the third time; `later`: tried again at the first full look after so many seconds
    (`after`, an hour at the most), which is no failure until a day after it came. Where `results` turn out to be
    impossible (a target, key or parameter that is not there), the delivery has failed, and those behind it go on.
    """

    delivery: Delivery
    outcome: Literal["admitted", "filtered", "rejected", "failed", "later"] = "admitted"
    reason: str | None = None
    results: Iterable[RunRequest | AddPartitions | DeletePartitions | Report] = ()
    after: float = 30.0


def _read(body: bytes, content_type: str | None) -> Any:
    kind = (content_type or "application/json").partition(";")[0].strip().lower()
    if kind.endswith(("/json", "+json", "/cloudevents")):
        return _json(body)
    if kind == "application/x-www-form-urlencoded":
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
        return _json(fields["payload"]) if set(fields) == {"payload"} else fields
    return body.decode() if kind.startswith("text/") else body


def _json(text: bytes | str) -> Any:
    """The door has looked at JSON that says what it is; what says nothing, or is the field of a form, comes unseen."""
    try:
        return json.loads(text, parse_constant=_not_finite, parse_float=_finite, object_pairs_hook=_each_once)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _finite(text: str) -> float:
    found = float(text)
    return found if math.isfinite(found) else _not_finite(text)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def _not_finite(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
