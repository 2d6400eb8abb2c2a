"""Whether the templates of a sensor name fields that its requests have, where those are known before any look."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from string import Formatter
from typing import Any

from freshet import DefinitionError, Sensor

__all__ = ["check_fields"]

_ROOTS = ("params", "tags", "metadata")


def check_fields(
    sensor: Sensor,
    *,
    partition: bool,
    params: Collection[str] = (),
    tags: Collection[str] = (),
    metadata: Collection[str] | None = (),
) -> None:
    """Raise `DefinitionError` for a field of `run_key=`, `partition=` or `params=` that no request of the sensor has.
    `partition`: whether requests name one; `metadata`: of it, None where that is not known."""
    flow = sensor.spec.flow
    if flow.partition is not None:
        partition, metadata = True, None
    first: dict[str, Collection[str] | None] = {"params": params, "tags": tags}
    known: dict[str, Collection[str] | None] = {**first, "metadata": metadata}
    for option, template, scope, named in (
        ("partition", flow.partition, first, False),
        ("params", flow.params, known, partition),
        ("run_key", flow.run_key, {**known, "params": {*params, *flow.params}}, partition),
    ):
        for field in _fields(template):
            if not _has(field, scope, named):
                names = _names(scope, named)
                near = get_close_matches(field, names, n=1)
                hint = f"did you mean {{{near[0]}}}?" if near else f"they have {', '.join(names) or 'none'}"
                raise DefinitionError(f"{sensor.name}: {option}={template!r}: requests have no {field!r}", hint=hint)


def _fields(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield from (field for _, field, _, _ in Formatter().parse(template) if field)
    elif isinstance(template, dict | list):
        inner: Any = template.values() if isinstance(template, dict) else template  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        for one in inner:
            yield from _fields(one)


def _has(field: str, scope: dict[str, Collection[str] | None], partition: bool) -> bool:
    root, _, name = field.partition(".")
    if field in ("target", *scope):
        return True
    if field == "partition":
        return partition
    if root in _ROOTS and name:
        there = scope.get(root, ())
        return there is None or name.partition(".")[0] in there
    return any(there is None or field in there for there in scope.values())


def _names(scope: dict[str, Collection[str] | None], partition: bool) -> list[str]:
    found = ["target", *(["partition"] if partition else [])]
    return found + [f"{root}.{name}" for root, there in scope.items() for name in sorted(there or ())]
