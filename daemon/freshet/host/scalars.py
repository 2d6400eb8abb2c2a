"""Parameters that are nothing but truth values, numbers and texts: as pydantic describes and converts them, without it.

Pydantic is 6 MB and dozens of mappings that each forked worker would have a copy of: a tenth of what a short run costs.
What is not done here (texts that are no plain integers, say) is left to it, and it is loaded then.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["Scalars"]

_KINDS: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_INTEGER = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_EXACT = 2**53
"""Integers up to this one are floats without loss."""
_NONE = object()


class Scalars:
    """The parameters of a function: `hints` by name, of those with a default also that."""

    def __init__(self, hints: Mapping[str, type], defaults: Mapping[str, Any]) -> None:
        self._hints = dict(hints)
        self._defaults = dict(defaults)
        self._needed = frozenset(self._hints.keys() - self._defaults.keys())

    @classmethod
    def of(cls, hints: Mapping[str, Any], defaults: Mapping[str, Any]) -> Scalars | None:
        """None where a parameter is something else."""
        for hint in hints.values():
            if not any(hint is kind for kind in _KINDS):
                return None
        for default in defaults.values():
            if default is not None and type(default) not in _KINDS:
                return None
            if isinstance(default, float) and not math.isfinite(default):
                return None
        return cls(hints, defaults)

    def schema(self, title: str) -> dict[str, Any]:
        """The JSON Schema of an object with them."""
        properties = {name: self._property(name, hint) for name, hint in self._hints.items()}
        found: dict[str, Any] = {"additionalProperties": False, "properties": properties}
        if needed := [name for name in self._hints if name in self._needed]:
            found["required"] = needed
        return {**found, "title": title, "type": "object"}

    def _property(self, name: str, hint: type) -> dict[str, Any]:
        default = {"default": self._defaults[name]} if name in self._defaults else {}
        return {**default, "title": name.title().replace("_", " ").strip(), "type": _KINDS[hint]}

    def taken(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """The arguments; None where pydantic must be asked, also for what is wrong."""
        found = dict(given)
        for name, value in given.items():
            hint = self._hints.get(name)
            if hint is not type(value):
                found[name] = value = _converted(value, hint)
                if value is _NONE:
                    return None
        return found if self._needed <= found.keys() else None


def _converted(value: Any, hint: type | None) -> Any:
    if hint is float and type(value) is int and abs(value) <= _EXACT:
        return float(value)
    if hint is int and type(value) is str and _INTEGER.fullmatch(value):
        return int(value)
    if hint is bool and value in ("true", "false"):
        return value == "true"
    return _NONE
