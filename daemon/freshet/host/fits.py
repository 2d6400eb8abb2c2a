"""The annotations of a step's function, held against what it is given and what it returns. Runs in a worker, where all
that is first touched is copied: so the host looks at them before (`prepare`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from freshet.errors import ValueFormatError
from freshet.io.fitting import prepared, unfit

__all__ = ["check_given", "check_returned", "prepare", "wanted"]

_known: dict[tuple[int, str], tuple[dict[str, Any], Any]] = {}
"""Texts that are resolved already, by the module (its names) that they stand in."""


def wanted(function: Callable[..., Any], parameter: str) -> Any:
    """The annotation of a parameter (or of `return`); `Any` where there is none, or it cannot be resolved."""
    hints: dict[str, Any] = getattr(function, "__annotations__", {})
    annotation = hints.get(parameter, Any)
    return _resolved(annotation, getattr(function, "__globals__", {})) if isinstance(annotation, str) else annotation


def _resolved(text: str, names: dict[str, Any]) -> Any:
    known = _known.get((id(names), text))
    if known is not None and known[0] is names:
        return known[1]
    try:
        found = eval(text, names)  # noqa: S307  # the plugin's own
    except Exception:  # what is imported for type checkers alone, say
        found = Any
    _known[id(names), text] = names, found
    return found


def prepare(function: Callable[..., Any]) -> None:
    """Resolve a function's annotations, and what they say of values, ahead of the first step of it."""
    for parameter in getattr(function, "__annotations__", ()):
        prepared(wanted(function, parameter))


def check_returned(function: Callable[..., Any], value: Any) -> None:
    """Raise `ValueFormatError` where what the function returned is not what its annotation says."""
    annotation = wanted(function, "return")
    if annotation is not Any and (found := _unfit(value, annotation)) is not None:
        raise ValueFormatError(
            f"what the function returned does not fit its annotation: {found}",
            hint="return what it says, or correct what it says",
        )


def check_given(value: Any, annotation: Any, asset: str, where: str) -> None:
    """Raise `ValueFormatError` where an upstream's value is not what the parameter's annotation says. `where`: what the
    message adds to the asset's name."""
    if annotation is not Any and (found := _unfit(value, annotation)) is not None:
        raise ValueFormatError(
            f"the value of {asset!r}{where} does not fit the parameter's annotation: {found}",
            hint=f"correct the annotation, or materialize {asset!r} again if it was made by other code",
        )


def _unfit(value: Any, annotation: Any) -> str | None:
    found = unfit(value, annotation)
    return None if found is None else f"{found[0]}: {found[1]}"
