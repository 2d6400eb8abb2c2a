"""`[plugins.NAME]` of the configuration, as it stands there: secrets are still references."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Tables", "is_reference", "references"]

_REFERENCE = re.compile(r"(env:[A-Za-z_][A-Za-z0-9_]*|cred:[A-Za-z0-9_.@-]+|file:.+)")


@dataclass(frozen=True, slots=True)
class Tables:
    """`values`: by name; plain data as JSON has it. `places`: where each key stands ("orders.bucket"), as `file:line`.
    `file`: the configuration; None where there is none. `plain`: secrets may stand in it themselves (in tests)."""

    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    places: Mapping[str, str] = field(default_factory=dict[str, str])
    file: str | None = None
    plain: bool = False

    def place(self, *keys: str) -> str:
        """Where a key stands, or else what it would stand in."""
        for cut in range(len(keys), 0, -1):
            if (found := self.places.get(".".join(keys[:cut]))) is not None:
                return found
        return self.file or "configuration"


def is_reference(text: str) -> bool:
    """Whether it names a secret, and is none."""
    return _REFERENCE.fullmatch(text) is not None


def references(value: Any) -> Iterator[str]:
    """All texts in plain data that name a secret."""
    if isinstance(value, str):
        if is_reference(value):
            yield value
    elif isinstance(value, Mapping):
        for one in value.values():  # pyright: ignore[reportUnknownVariableType]  # plain data
            yield from references(one)
    elif isinstance(value, list):
        for one in value:  # pyright: ignore[reportUnknownVariableType]  # plain data
            yield from references(one)
