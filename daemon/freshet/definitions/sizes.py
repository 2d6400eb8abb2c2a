"""Amounts of memory as users write them."""

from __future__ import annotations

import re

from freshet.definitions.expect import expect
from freshet.errors import DefinitionError

__all__ = ["format_size", "parse_size"]

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BINARY = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


def parse_size(value: str, *, what: str) -> int:
    """Bytes in `"512MiB"` (binary: KiB, MiB, GiB, TiB) or `"1.5GB"` (decimal: B, KB, MB, GB, TB).

    Raises `DefinitionError` naming `what`, the text found and the forms allowed.
    """
    expect(value, (str,), what, 'write it as "512MiB" or "2GiB"')
    match = _SIZE.fullmatch(value.strip())
    unit = (_UNITS | _BINARY).get(match[2]) if match else None
    if match is None or unit is None:
        raise DefinitionError(f"{what}: {value!r} is no amount of memory", hint='write it as "512MiB" or "2GiB"')
    return int(float(match[1]) * unit)


def format_size(size: float) -> str:
    """The shortest usual form: 536870912 is `512 MiB`."""
    for unit, factor in reversed(_BINARY.items()):
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 999.5 * factor else f"{size / factor:.0f} {unit}"
    return f"{size:.0f} B"
