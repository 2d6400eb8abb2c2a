"""When something is said to have happened."""

from __future__ import annotations

import math
from datetime import datetime

from freshet.errors import DefinitionError

__all__ = ["moment_told"]

_HINT = "give seconds since 1970, or a datetime with a zone: datetime.now(UTC)"
_END = 253402300800.0  # the year 10000


def moment_told(at: object, *, what: str) -> float:
    """Seconds since 1970 of a number or an aware datetime. Raises `DefinitionError` naming `what`."""
    if isinstance(at, datetime):
        if at.utcoffset() is None:
            raise DefinitionError(f"{what} is a datetime without a zone: {at.isoformat()}", hint=_HINT)
        return at.timestamp()
    if isinstance(at, bool) or not isinstance(at, int | float):
        raise DefinitionError(f"{what} is no moment: {at!r:.60}", hint=_HINT)
    if not math.isfinite(at) or not -_END < at < _END:
        raise DefinitionError(f"{what} is no moment: {at!r:.60}", hint=_HINT)
    return float(at)
