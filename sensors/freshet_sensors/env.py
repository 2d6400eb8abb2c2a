"""What stands in the environment and not in the plugin: `env:NAME`."""

from __future__ import annotations

import os
import re

from freshet import FreshetError

__all__ = ["from_env"]

_REFERENCE = re.compile(r"(?:(?<=\s)|^)env:([A-Za-z_][A-Za-z0-9_]*)")


def from_env(text: str, *, what: str) -> str:
    """`text` with each `env:NAME` in it, at its beginning or after a blank, replaced by what is held there, without the
    line end that comes of reading it from a file. Raises `FreshetError`."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if (held := os.environ.get(name)) is None:
            raise FreshetError(
                f"{what}: the environment has no {name}", hint=f"set {name} for the daemon, and start it anew"
            )
        return held.rstrip("\r\n")

    return _REFERENCE.sub(value, text)
