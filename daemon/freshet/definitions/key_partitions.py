"""Sets whose keys are data: known to the store (dynamic) or written down (static)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from freshet.definitions.expect import expect, expect_list
from freshet.definitions.names import check_key, check_name
from freshet.definitions.source import Source, caller_source
from freshet.errors import DefinitionError

__all__ = ["DynamicPartitions", "StaticPartitions"]


@dataclass(frozen=True)
class DynamicPartitions:
    """A set whose keys are added and deleted while the daemon runs. Equal names are the same set."""

    name: str
    kind: Literal["dynamic"] = "dynamic"
    source: Source | None = field(default_factory=caller_source, compare=False)

    def __post_init__(self) -> None:
        check_name(self.name, what="DynamicPartitions", identifier=False)


@dataclass(frozen=True)
class StaticPartitions:
    """A fixed list of keys. Without a name the set is called after its first asset: `ASSET.partitions`."""

    keys: tuple[str, ...]
    name: str
    kind: Literal["static"] = "static"
    source: Source | None = field(default=None, compare=False)

    def __init__(
        self,
        keys: Iterable[str],
        name: str = "",
        kind: Literal["static"] = "static",
        source: Source | None = None,
    ) -> None:
        called = keys if isinstance(keys, str) else "name"
        given = expect_list(keys, "StaticPartitions: keys", f'write StaticPartitions([...], name="{called}")')
        checked = tuple(check_key(expect(key, (str,), "StaticPartitions: a key")) for key in given)
        if not checked:
            raise DefinitionError("StaticPartitions: no keys", hint="give at least one")
        if len(set(checked)) != len(checked):
            twice = next(key for key in checked if checked.count(key) > 1)
            raise DefinitionError(f"StaticPartitions: the key {twice!r} stands twice", hint="remove one")
        if name:
            check_name(name, what="StaticPartitions", identifier=False)
        object.__setattr__(self, "keys", checked)
        object.__setattr__(self, "name", name or f"static-{_digest(checked)}")
        object.__setattr__(self, "kind", "static")
        object.__setattr__(self, "source", source or caller_source())


def _digest(keys: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:12]
