"""What a sensor says of items with named fields (rows, members of a JSON list): partitions and runs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from string import Formatter
from typing import Any, NamedTuple, cast
from uuid import UUID

from freshet import (
    AddPartitions,
    Asset,
    DefinitionError,
    DynamicPartitions,
    PartitionKeyError,
    RunRequest,
    Sensor,
    SensorContext,
    check_key,
)
from freshet_sensors.fields import check_fields

__all__ = ["FieldKey", "Item", "Plan", "digest", "json_of", "say", "text_of"]


class FieldKey:
    """A template over fields: `"{id}"`, `"{day}-{shop}"`. Raises `DefinitionError`."""

    def __init__(self, text: str, *, what: str) -> None:
        self.text = text
        self._parts: list[tuple[str, str | None]] = []
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise DefinitionError(f"{what} {text!r}: {error}", hint="write a field as {id}, a brace twice") from None
        for literal, field, spec, conversion in parsed:
            if field is not None and (not field.isidentifier() or spec or conversion):
                raise DefinitionError(f"{what} {text!r}: {{{field}}} is no plain field", hint="for example {id}")
            self._parts.append((literal, field))
        if not self.fields:
            raise DefinitionError(f"{what} {text!r} names no field", hint='for example "{id}"')

    @property
    def fields(self) -> list[str]:
        """The fields it asks for."""
        return [field for _, field in self._parts if field is not None]

    def key(self, item: Mapping[str, Any]) -> str:
        """The key of an item. Raises `PartitionKeyError` where a field is missing, empty or no single value."""
        texts: list[str] = []
        for literal, field in self._parts:
            texts.append(literal)
            if field is not None:
                if field not in item:
                    raise PartitionKeyError(f"it has no {field!r}", hint=f"it has {', '.join(item) or 'nothing'}")
                texts.append(text_of(item[field], field))
        return "".join(texts)


class Item(NamedTuple):
    """`name`: its key, or what stands for it in the log where it has none. `run_key`: what tells it from the sensor's
    other items."""

    name: str
    run_key: str
    fields: Mapping[str, Any]
    wrong: str | None = None
    """Why it cannot be admitted."""


@dataclass(frozen=True)
class Plan:
    """What the user asked for. `name`: the sensor's, with which run keys begin: another sensor's items are others, also
    where their keys are equal. `params`: the fields that a run is handed as parameters. `templated`: the sensor's
    template `run_key=` names the runs."""

    name: str
    partitions: DynamicPartitions | None
    target: str | None
    params: tuple[str, ...] = ()
    templated: bool = False

    @classmethod
    def of(cls, sensor: Sensor, *, partitions: DynamicPartitions | None, target: object, params: Sequence[str]) -> Plan:
        """Of a sensor. Raises `DefinitionError` for what cannot be meant."""
        name, of = sensor.name, sensor.spec.target
        if partitions is None and of is None:
            raise DefinitionError(f"{name}: neither partitions nor target", hint="say what an item leads to")
        if partitions is None and isinstance(target, Asset) and target.spec.partitions is not None:
            said = f"{name}: its target {target.spec.name!r} is partitioned, and no item would say which one is meant"
            raise DefinitionError(said, hint="give partitions= the asset's set")
        if isinstance(params, Mapping):
            raise DefinitionError(
                f"{name}: params= names fields of an item, in a list",
                hint=f"what else a run is to be given stands in run_params={dict(params)!r}",  # pyright: ignore[reportUnknownArgumentType]
            )
        if isinstance(params, str):
            raise DefinitionError(f"{name}: params={params!r} is a text", hint=f"write params=[{params!r}]")
        if params and (partitions is not None or of is None):
            raise DefinitionError(
                f"{name}: params= are for the runs of a job", hint="a partition has its item's fields as metadata"
            )
        if partitions is None:
            check_fields(sensor, partition=False, params=params, tags=("item",))
        else:
            check_fields(sensor, partition=True, metadata=None)
        return cls(name, partitions, of, tuple(params), sensor.spec.flow.run_key is not None)

    def checked(self, key: str) -> str:
        """The key, fit for its set. Raises `PartitionKeyError`."""
        return key if self.partitions is None else check_key(key)


def say(ctx: SensorContext, plan: Plan, items: Iterable[Item]) -> Iterator[AddPartitions | RunRequest]:
    """One piece of a look. An item that cannot be admitted is logged and passed over."""
    added: dict[str, dict[str, Any]] = {}
    runs: list[RunRequest] = []
    for item in items:
        if item.wrong is not None:
            ctx.log.warning("item passed over", item=item.name, reason=item.wrong)
            continue
        run_key = None if plan.templated else f"{plan.name}:{item.run_key}"
        if plan.partitions is not None:
            added[item.name] = {str(field): json_of(value) for field, value in item.fields.items()}
            if plan.target is not None:
                runs.append(RunRequest(plan.target, partition=item.name, run_key=run_key))
        else:
            params = {field: json_of(item.fields[field]) for field in plan.params if field in item.fields}
            runs.append(RunRequest(plan.target, run_key=run_key, params=params, tags={"item": item.name}))
    if added and plan.partitions is not None:
        yield AddPartitions(plan.partitions, added)
    yield from runs


def text_of(value: Any, what: str) -> str:
    """A single value as text, the same for equal ones. Raises `PartitionKeyError` for what is none."""
    match value:
        case None | "":
            raise PartitionKeyError(f"its {what!r} is empty", hint="a key needs a value")
        case bool():
            return "true" if value else "false"
        case str() | int() | Decimal() | UUID():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case date() | datetime() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case _:
            raise PartitionKeyError(f"its {what!r} is no single value: {value!r:.100}", hint="name another field")


def json_of(value: Any) -> Any:
    """A value as JSON can hold it: times in ISO 8601, bytes in hex, what else there is as its text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case dict():
            named = cast("Mapping[object, Any]", value)
            return {str(name): json_of(one) for name, one in named.items()}
        case list() | tuple():
            return [json_of(one) for one in cast("Sequence[Any]", value)]
        case date() | datetime() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case _:
            return str(value)


def digest(value: bytes | Any) -> str:
    """32 hex digits that stand for some bytes, or for a value."""
    data = value if isinstance(value, bytes) else json.dumps(json_of(value), sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:32]
