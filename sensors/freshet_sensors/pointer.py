"""JSON pointers (RFC 6901): `/data/0/id`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from freshet import DefinitionError, FreshetError

__all__ = ["Pointer"]

_INDEX = re.compile("0|[1-9][0-9]*")
"""A place in a list, as the RFC writes it: no sign, no zeros before it."""


class Pointer:
    """The way to a place in a JSON document; the empty one is the whole. Raises `DefinitionError`."""

    def __init__(self, text: str, *, what: str) -> None:
        if text and not text.startswith("/"):
            raise DefinitionError(f"{what}={text!r} is no JSON pointer", hint=f'write "/{text.replace(".", "/")}"')
        self._text = text
        self._what = what
        self._parts = [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]

    def __str__(self) -> str:
        return self._text or "the whole"

    def of(self, document: Any) -> Any:
        """What stands there. Raises `FreshetError`, naming the part that is missing."""
        place = document
        for at, part in enumerate(self._parts):
            try:
                place = _step(place, part)
            except (LookupError, TypeError, ValueError):
                way = "/" + "/".join(self._parts[: at + 1])
                raise FreshetError(
                    f"{self._what}: nothing stands at {way}", hint=f"found there: {_shown(place)}"
                ) from None
        return place


def _step(place: Any, part: str) -> Any:
    if isinstance(place, dict):
        return cast("Mapping[str, Any]", place)[part]
    if not _INDEX.fullmatch(part):
        raise LookupError(part)
    return place[int(part)]


def _shown(place: Any) -> str:
    if isinstance(place, dict):
        return ", ".join(list(cast("Mapping[str, Any]", place))[:10])
    return repr(place)[:100]
