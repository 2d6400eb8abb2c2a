"""Which lines of a stack are the plugin's own: neither Python's, nor a package's, nor Freshet's."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["own_places", "raised_at"]

_FRAME = re.compile(r'^\s*File "([^"]+)", line (\d+)', re.MULTILINE)
_INSTALLED = re.compile(r"^<|/(site-packages|dist-packages|freshet_sensors|lib/python3\.\d+)/")
_FRESHET = f"{Path(__file__).resolve().parent.parent}/"


def own_places(stack: str) -> tuple[tuple[str, int], ...]:
    """File and line of each of the plugin's own frames, in the order of `stack`: a traceback, or what `faulthandler`
    wrote."""
    found = ((file, int(line)) for file, line in _FRAME.findall(stack))
    return tuple((file, line) for file, line in found if not _INSTALLED.search(file) and not file.startswith(_FRESHET))


def raised_at(traceback: str | None) -> str | None:
    """`FILE:LINE` of the innermost of the plugin's own frames; None where none is."""
    places = own_places(traceback or "")
    return f"{places[-1][0]}:{places[-1][1]}" if places else None
