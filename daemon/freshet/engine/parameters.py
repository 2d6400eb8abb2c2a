"""Whether a job takes these parameters, as far as that can be told without its plugin: names, and plain types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from freshet.definitions.job import JobSpec
from freshet.definitions.names import nearest_hint
from freshet.definitions.outcome import Json
from freshet.definitions.plain import rebuilt, said
from freshet.errors import Conflict, UnknownName

__all__ = ["check_params", "typed"]


def check_params(spec: JobSpec, params: Mapping[str, Json], *, by: Literal["hand", "request", "call"]) -> None:
    """Raise `UnknownName` for a parameter that the job does not have, and `Conflict` for one that it needs or that is
    of another type. `by`: who asks, for the remedy. What only the plugin can tell is left to the worker."""
    known: dict[str, Json] = spec.parameters.get("properties", {})
    for given in params:
        if given not in known:
            raise UnknownName(f"the job {spec.name!r} has no parameter {given!r}", hint=nearest_hint(given, known))
    for required in spec.parameters.get("required", []):
        if required not in params:
            ways = {"hand": f"--param {required}=...", "request": f"params={{{required!r}: ...}}"}
            give = ways.get(by, f"{required}=...")
            raise Conflict(f"the job {spec.name!r} needs the parameter {required!r}", hint=f"give it: {give}")
    for name, value in params.items():
        if (plain := spec.plain.get(name)) is None:
            continue
        try:
            _adapter(json.dumps(plain)).validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, (name, *(one for one in first["loc"] if isinstance(one, int)))))
            raise Conflict(
                f"the job {spec.name!r}: the parameter {where!r}: {first['msg']}, found {first['input']!r:.80}",
                hint=f"{name} takes: {said(plain)}",
            ) from None


def typed(spec: JobSpec | None, texts: Mapping[str, str]) -> dict[str, Json]:
    """Parameters as they were typed, as values: each is JSON, or else text; a text, too, where the job takes it as such
    and not what it is as JSON."""
    return {name: _typed(text, None if spec is None else spec.plain.get(name)) for name, text in texts.items()}


def _typed(text: str, plain: Json) -> Json:
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text
    return text if plain is not None and not _fits(plain, value) and _fits(plain, text) else value


def _fits(plain: Json, value: Json) -> bool:
    try:
        _adapter(json.dumps(plain)).validate_python(value)
    except ValidationError:
        return False
    return True


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


@lru_cache(maxsize=1024)
def _adapter(plain: str) -> TypeAdapter[Any]:
    return TypeAdapter(rebuilt(json.loads(plain)))
