"""Arguments of a command with fields in braces. Pure: what they are filled from is an argument."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from freshet.definitions.expect import expect
from freshet.definitions.names import nearest_hint
from freshet.errors import Conflict, DefinitionError

__all__ = ["argument_fields", "check_argument", "fill_arguments"]

_BARE = ("run_id", "attempt", "name")
_ROOTS = ("partition", "params", "tags")
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELD = re.compile(r"run_id|attempt|name|partition\.key|(?:partition\.metadata|params|tags)\.[\w-]+(?:\.[\w-]+)*")
_HINT = (
    "fields are {partition.key}, {partition.metadata.NAME}, {params.NAME}, {tags.NAME}, {run_id}, {attempt}, {name}; "
    'a brace that is to stay, as in JSON, is written twice: "{{", "}}"'
)


def check_argument(text: object, what: str) -> str:
    """The argument, if its fields can be fields. Raises `DefinitionError` that names `what`."""
    given = expect(cast(str, text), (str,), f"{what}: an argument", 'write it as a text: "3"')
    if "\0" in given:
        raise DefinitionError(f"{what}: the argument {given!r} has a null character", hint="no program can take it")
    for field in argument_fields([given]):
        if not _FIELD.fullmatch(field):
            close = nearest_hint(field.partition(".")[0], [*_BARE, *_ROOTS])
            hint = close if close.startswith("did you mean") else _HINT
            raise DefinitionError(f"{what}: {given!r}: {{{field}}} is no field", hint=hint)
    if stray := next((one[0] for one in _PIECE.finditer(given) if one[0] in ("{", "}")), None):
        raise DefinitionError(f"{what}: {given!r} has a stray {stray!r}", hint=_HINT)
    return given


def argument_fields(arguments: Iterable[str]) -> list[str]:
    """The fields of all, in order."""
    return [field for text in arguments for _, field in _pieces(text) if field is not None]


def fill_arguments(arguments: Iterable[str], scope: Mapping[str, Any], what: str) -> list[str]:
    """The arguments for one step: texts as they are, anything else as JSON; one that is a field alone and a list
    becomes as many arguments. `scope`: `run_id`, `attempt`, `name`, `params`, `tags`, and `partition` (its `key` and
    `metadata`) where the step has one. Raises `Conflict` for what is not there, or is null."""
    filled: list[str] = []
    for text in arguments:
        pieces = _pieces(text)
        if len(pieces) == 1 and pieces[0][1] is not None:
            value = _value(pieces[0][1], scope, text, what)
            filled += [_text(value)] if not isinstance(value, list) else [_text(one) for one in cast("Any", value)]
        else:
            filled.append(
                "".join(
                    literal if field is None else _text(_value(field, scope, text, what)) for literal, field in pieces
                )
            )
    if any("\0" in one for one in filled):
        raise Conflict(f"{what}: an argument has a null character", hint="no program can take it")
    return filled


def _pieces(text: str) -> list[tuple[str, str | None]]:
    """Literal texts, and fields by name."""
    found: list[tuple[str, str | None]] = []
    position = 0
    for match in _PIECE.finditer(text):
        if match.start() > position:
            found.append((text[position : match.start()], None))
        found.append(("", match[1]) if match[1] is not None else (match[0][:1], None))
        position = match.end()
    if position < len(text):
        found.append((text[position:], None))
    return found


def _value(field: str, scope: Mapping[str, Any], text: str, what: str) -> Any:
    value: Any = dict(scope)
    for name in field.split("."):
        known = cast("dict[str, Any]", value if isinstance(value, dict) else {})
        value = known.get(name)
        if value is None:
            there = f"there are: {', '.join(known)}" if known else "there is none"
            hint = "the step has no partition" if name == "partition" else there
            raise Conflict(f"{what}: {text!r}: there is no {{{field}}} to fill in", hint=hint)
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    import orjson  # the command line, which reads definitions too, does without

    return orjson.dumps(value).decode()
