"""Arguments that hold values."""

from __future__ import annotations

import json
from typing import Any

from freshet.cli.session import UsageError

__all__ = ["json_argument", "parameters"]


def json_argument(text: str, what: str) -> Any:
    """A value given as JSON. Raises `UsageError`."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} is not JSON: {error}", hint="""quote texts twice: '"2026-01-01"'""") from None


def parameters(pairs: list[str]) -> dict[str, str]:
    """`["k=1", "name=text"]` as `{"k": "1", "name": "text"}`. Raises `UsageError`."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--param {pair!r} is not K=V", hint="for example --param order_id=12")
        if name in found:
            raise UsageError(f"--param {name} is given twice", hint="give lists as JSON: --param ids=[1,2]")
        found[name] = text
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
