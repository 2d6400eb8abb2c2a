"""A job's parameters, from the annotations of its function: their JSON Schema, and the check before it runs."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from freshet.definitions.outcome import Json
from freshet.definitions.plain import described
from freshet.errors import FreshetError

if TYPE_CHECKING:  # 5 MB that are copied into each worker's page tables: loaded where a job has parameters
    from pydantic import BaseModel, ValidationError

__all__ = ["InvalidParameter", "Parameters"]


_AS_THEY_ARE = (bool, int, float, str)
"""Annotations under which a value of exactly this type is taken as it is."""


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
        self._needed = set[str]()
        self._as_they_are: dict[str, type] = {}
        self.plain: dict[str, Json] = {}
        if any(parameter not in given for parameter in inspect.signature(function).parameters):
            self._build(function)

    def _build(self, function: Callable[..., Any]) -> None:
        from pydantic import ConfigDict, Field, create_model

        hints = typing.get_type_hints(function, include_extras=True)
        fields: dict[str, Any] = {}
        for index, parameter in enumerate(inspect.signature(function).parameters.values()):
            if parameter.name in self._given:
                continue
            default = ... if parameter.default is parameter.empty else parameter.default
            if default is ...:
                self._needed.add(parameter.name)
            for kind in _AS_THEY_ARE:
                if hints.get(parameter.name) is kind:
                    self._as_they_are[parameter.name] = kind
            if (plain := described(hints.get(parameter.name, Any))) is not None:
                self.plain[parameter.name] = plain
            # Fields go by number: a parameter may be called `json`, `_x` or `model_config`, a field may not.
            self._names[f"p{index}"] = parameter.name
            fields[f"p{index}"] = (hints.get(parameter.name, Any), Field(default, alias=parameter.name))
        self._model = create_model(
            self._job, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True), **fields
        )

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of an object with the parameters."""
        if self._model is None:
            return {"type": "object", "title": self._job, "properties": {}, "additionalProperties": False}
        return self._model.model_json_schema(by_alias=True)

    def check(self, given: Mapping[str, Any], *, partly: bool = False) -> dict[str, Any]:
        """The arguments to call the function with; defaults are left to it. `partly`: others will be added, so that
        none is missing yet. Raises `InvalidParameter`."""
        if self._model is None:
            if given:
                raise self._refused([f"there is no parameter {name!r}" for name in given])
            return {}
        if self._fits(given):
            return dict(given)
        from pydantic import ValidationError

        try:
            model = self._model.model_validate(dict(given))
        except ValidationError as error:
            if complaints := _complaints(error, partly=partly):
                raise self._refused(complaints) from None
            return {}
        return {self._names[field]: getattr(model, field) for field in model.model_fields_set}

    def _fits(self, given: Mapping[str, Any]) -> bool:
        """Whether there is nothing to convert. In a forked worker, pydantic's way costs more than most that surrounds
        it: it copies a hundred pages."""
        types = self._as_they_are
        for name in given:
            if types.get(name) is not type(given[name]):
                return False
        return self._needed <= given.keys()

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
