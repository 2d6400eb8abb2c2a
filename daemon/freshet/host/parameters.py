"""A job's parameters, from the annotations of its function: their JSON Schema, and the check before it runs."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from freshet.definitions.outcome import Json
from freshet.definitions.plain import described
from freshet.errors import FreshetError
from freshet.host.scalars import Scalars

if TYPE_CHECKING:  # 5 MB that are copied into each worker's page tables: loaded where a job has parameters
    from pydantic import BaseModel, ValidationError

__all__ = ["InvalidParameter", "Parameters"]


class InvalidParameter(FreshetError):
    """A parameter that a job's annotations do not allow; the message names it."""


class Parameters:
    """What a job's function takes besides what it is `given` (`ctx`, resources); `plain`: the plain annotations, by
    parameter. Raises what resolving the annotations raises."""

    def __init__(self, name: str, function: Callable[..., Any], *, given: Collection[str] = frozenset({"ctx"})) -> None:
        self._job = name
        self._given = given
        self._names: dict[str, str] = {}
        self._model: type[BaseModel] | None = None
        self._fields: dict[str, tuple[str, Any, Any]] = {}
        self.plain: dict[str, Json] = {}
        self._read(function)
        hints = {name: hint for name, hint, _ in self._fields.values()}
        defaults = {name: default for name, _, default in self._fields.values() if default is not ...}
        self._scalars = Scalars.of(hints, defaults)
        if self._scalars is None:
            self._validating()

    def _read(self, function: Callable[..., Any]) -> None:
        parameters = {n: one for n, one in inspect.signature(function).parameters.items() if n not in self._given}
        hints = typing.get_type_hints(function, include_extras=True) if parameters else {}
        for index, (name, parameter) in enumerate(parameters.items()):
            default = ... if parameter.default is parameter.empty else parameter.default
            if (plain := described(hints.get(name, Any))) is not None:
                self.plain[name] = plain
            # Fields go by number: a parameter may be called `json`, `_x` or `model_config`, a field may not.
            self._names[f"p{index}"] = name
            self._fields[f"p{index}"] = name, hints.get(name, Any), default

    def _validating(self) -> type[BaseModel]:
        """The model, made when it is needed."""
        if self._model is None:
            from pydantic import ConfigDict, Field, create_model

            fields: dict[str, Any] = {
                field: (hint, Field(default, alias=name)) for field, (name, hint, default) in self._fields.items()
            }
            config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
            self._model = create_model(self._job, __config__=config, **fields)
        return self._model

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of an object with the parameters."""
        if not self._fields:
            return {"type": "object", "title": self._job, "properties": {}, "additionalProperties": False}
        if self._scalars is not None:
            return self._scalars.schema(self._job)
        return self._validating().model_json_schema(by_alias=True)

    def check(self, given: Mapping[str, Any], *, partly: bool = False) -> dict[str, Any]:
        """The arguments to call the function with; defaults are left to it. `partly`: others will be added, so that
        none is missing yet. Raises `InvalidParameter`."""
        if not self._fields:
            if given:
                raise self._refused([f"there is no parameter {name!r}" for name in given])
            return {}
        if self._scalars is not None and (taken := self._scalars.taken(given)) is not None:
            return taken
        from pydantic import ValidationError

        try:
            model = self._validating().model_validate(dict(given))
        except ValidationError as error:
            if complaints := _complaints(error, partly=partly):
                raise self._refused(complaints) from None
            return {}
        return {self._names[field]: getattr(model, field) for field in model.model_fields_set}

    def _refused(self, complaints: list[str]) -> InvalidParameter:
        names = ", ".join(self._names.values())
        hint = f"its parameters are: {names}" if names else "it takes none"
        return InvalidParameter(f"job {self._job}: " + "; ".join(complaints), hint=hint)


def _complaints(error: ValidationError, *, partly: bool) -> list[str]:
    found: list[str] = []
    for detail in error.errors(include_url=False):
        name = ".".join(map(str, detail["loc"]))
        match detail["type"]:
            case "missing" if partly and len(detail["loc"]) == 1:
                continue
            case "missing":
                found.append(f"parameter {name!r} is missing")
            case "extra_forbidden":
                found.append(f"there is no parameter {name!r}")
            case _:
                found.append(f"parameter {name!r}: {detail['msg']}, found {detail['input']!r:.80}")
    return found
