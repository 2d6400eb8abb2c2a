"""A job's parameters, from the annotations of its function: their JSON Schema, and the check before it runs."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from freshet.errors import FreshetError

__all__ = ["InvalidParameter", "Parameters"]


class InvalidParameter(FreshetError):
    """A parameter that a job's annotations do not allow; the message names it."""


class Parameters:
    """What a job's function takes besides `ctx`. Raises what resolving its annotations raises."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._job = name
        hints = typing.get_type_hints(function, include_extras=True)
        fields: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        for index, parameter in enumerate(inspect.signature(function).parameters.values()):
            if parameter.name == "ctx":
                continue
            default = ... if parameter.default is parameter.empty else parameter.default
            # Fields go by number: a parameter may be called `json`, `_x` or `model_config`, a field may not.
            self._names[f"p{index}"] = parameter.name
            fields[f"p{index}"] = (hints.get(parameter.name, Any), Field(default, alias=parameter.name))
        self._model: type[BaseModel] = create_model(
            name, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True), **fields
        )

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of an object with the parameters."""
        return self._model.model_json_schema(by_alias=True)

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments to call the function with; defaults are left to it. Raises `InvalidParameter`."""
        if not given and not self._names:
            return {}
        try:
            model = self._model.model_validate(dict(given))
        except ValidationError as error:
            raise self._refusal(error) from None
        return {self._names[field]: getattr(model, field) for field in model.model_fields_set}

    def _refusal(self, error: ValidationError) -> InvalidParameter:
        found: list[str] = []
        for detail in error.errors(include_url=False):
            name = ".".join(map(str, detail["loc"]))
            match detail["type"]:
                case "missing":
                    found.append(f"parameter {name!r} is missing")
                case "extra_forbidden":
                    found.append(f"there is no parameter {name!r}")
                case _:
                    found.append(f"parameter {name!r}: {detail['msg']}, found {detail['input']!r:.80}")
        known = ", ".join(self._names.values()) or "none"
        return InvalidParameter(f"job {self._job}: " + "; ".join(found), hint=f"its parameters are: {known}")
