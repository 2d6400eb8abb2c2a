"""What a file sensor may be asked for, and what makes no sense."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from freshet import Asset, DefinitionError
from freshet_sensors.admit import Rules

__all__ = ["Change", "checked_changes", "refuse_nonsense"]

Change = Literal["created", "modified", "deleted"]

_CHANGES: frozenset[str] = frozenset({"created", "modified", "deleted"})
_DELETED: frozenset[str] = frozenset({"deleted"})


def checked_changes(name: str, on: Iterable[str], retire: bool) -> frozenset[str]:
    """The changes that count. Raises `DefinitionError`."""
    changes = frozenset([on] if isinstance(on, str) else on) | (_DELETED if retire else frozenset[str]())
    if unknown := sorted(changes - _CHANGES):
        raise DefinitionError(f"{name}: on={unknown[0]!r} is no change", hint=f"use {', '.join(sorted(_CHANGES))}")
    return changes


def refuse_nonsense(name: str, rules: Rules, start: str, target: object) -> None:
    """Raises `DefinitionError` for options that do not go together."""
    if start not in ("all", "now"):
        raise DefinitionError(f"{name}: start={start!r} is unknown", hint='use "all" or "now"')
    if rules.partitions is None and rules.target is None:
        raise DefinitionError(f"{name}: neither partitions nor target", hint="say what a file leads to")
    if rules.partitions is None and (rules.retire or rules.key.text is not None):
        raise DefinitionError(
            f"{name}: retire= and key= are about partitions", hint="give partitions=, or leave them out"
        )
    if not rules.on:
        raise DefinitionError(f"{name}: on= is empty", hint=f"use {', '.join(sorted(_CHANGES))}")
    if rules.partitions is None and isinstance(target, Asset) and target.spec.partitions is not None:
        said = f"{name}: its target {target.spec.name!r} is partitioned, and no file would say which one is meant"
        raise DefinitionError(said, hint="give partitions= the asset's set")
