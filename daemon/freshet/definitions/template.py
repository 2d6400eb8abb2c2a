"""Templates: texts with fields in braces, filled from what a run request says of itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from freshet.definitions.names import nearest_hint
from freshet.definitions.outcome import Json
from freshet.errors import Conflict, DefinitionError

__all__ = ["Scope", "check_template", "check_templates", "fill_text", "fill_value"]

_ROOTS = ("params", "tags", "metadata")
_WHOLE = ("partition", "target", *_ROOTS)
_BARE = ("metadata", "params", "tags")
"""Where a field of one name is looked for, in this order."""
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELD = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*")
_HINT = 'fields are {partition}, {target}, {params.NAME}, {tags.NAME}, {metadata.NAME} or {NAME}; a brace is "{{"'

Scope = Mapping[str, Any]
"""What fields are looked for in: `partition`, `target`, `params`, `tags`, `metadata`; what is not there is left out."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str


def check_template(text: object, what: str) -> str:
    """The text, if its fields can be fields. Raises `DefinitionError` that names `what`."""
    if not isinstance(text, str) or not text:
        raise DefinitionError(f"{what} takes a text, not {text!r}", hint='for example "{bucket}/{key}"')
    for part in _parts(text):
        if isinstance(part, str):
            continue
        if part.name in ("{", "}"):
            raise DefinitionError(f"{what}={text!r} has a stray {part.name!r}", hint=_HINT)
        if not _FIELD.fullmatch(part.name):
            raise DefinitionError(f"{what}={text!r}: {{{part.name}}} is no field", hint=_HINT)
        root, _, rest = part.name.partition(".")
        if rest and root not in _ROOTS:
            raise DefinitionError(
                f"{what}={text!r}: there is no {root!r} to take {rest!r} from", hint=nearest_hint(root, _ROOTS)
            )
    return text


def check_templates(value: Json, what: str) -> None:
    """`check_template` for every text in a JSON value; texts may be empty here."""
    if isinstance(value, str):
        if value:
            check_template(value, what)
        return
    for key, inner in _inside(value):
        check_templates(inner, f"{what}[{key!r}]")


def fill_text(template: str, scope: Scope, what: str) -> str:
    """The template with its fields filled: a text as it is, anything else as JSON.

    Raises `Conflict` for a field that is not there, or is null; it names `what`, the template and what is there.
    """
    return "".join(
        part if isinstance(part, str) else _as_text(_value(part, scope, template, what), part, template, what)
        for part in _parts(template)
    )


def fill_value(template: Json, scope: Scope, what: str) -> Json:
    """A JSON value with the fields in its texts filled; a text that is one field becomes what that is, a number a
    number. Raises as `fill_text`."""
    if isinstance(template, str):
        parts = _parts(template)
        if len(parts) == 1 and isinstance(parts[0], _Field):
            return _value(parts[0], scope, template, what)
        return fill_text(template, scope, what)
    if not isinstance(template, (dict, list)):
        return template
    inside = {key: fill_value(inner, scope, f"{what}[{key!r}]") for key, inner in _inside(template)}
    return inside if isinstance(template, dict) else list(inside.values())


def _inside(value: Any) -> Iterator[tuple[Any, Json]]:
    inner: Any = value
    if isinstance(value, dict):
        yield from inner.items()
    elif isinstance(value, list):
        yield from enumerate(inner)


@lru_cache(maxsize=1024)
def _parts(text: str) -> tuple[str | _Field, ...]:
    return tuple(_split(text))


def _split(text: str) -> Iterator[str | _Field]:
    plain, last = "", 0
    for found in _PIECE.finditer(text):
        plain += text[last : found.start()]
        last = found.end()
        if found[0] in ("{{", "}}"):
            plain += found[0][0]
            continue
        if plain:
            yield plain
            plain = ""
        yield _Field(found[1] if found[1] is not None else found[0])
    plain += text[last:]
    if plain:
        yield plain


def _value(field: _Field, scope: Scope, template: str, what: str) -> Any:
    root, *steps = field.name.split(".")
    if not steps and root not in _WHOLE:
        root, steps = next((name for name in _BARE if root in _mapping(scope.get(name))), _BARE[0]), [root]
    at = scope.get(root)
    for step in steps:
        at = _mapping(at).get(step)
    if at is None:
        raise Conflict(
            f"{what}={template!r}: the request has no {field.name!r}", hint=f"it has {', '.join(_there(scope)) or '-'}"
        )
    return at


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _as_text(value: Any, field: _Field, template: str, what: str) -> str:
    if isinstance(value, str):
        return value
    import orjson  # the command line, which reads definitions too, does without

    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError as error:
        raise Conflict(f"{what}={template!r}: {field.name!r} is no JSON: {error}", hint="keep it as text") from None


def _there(scope: Scope) -> list[str]:
    found = [name for name in ("partition", "target") if scope.get(name) is not None]
    for root in _ROOTS:
        found += [f"{root}.{name}" for name in list(_mapping(scope.get(root)))[:20]]
    return found
