"""What is odd about deliveries in the log: the first at once, then how many there were, so that a flood of them is no
flood of lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Telling"]

_EVERY = 60.0


@dataclass(slots=True)
class _Told:
    until: float
    untold: int = 0


class Telling:
    """Says at most one line a minute of each hook and reason."""

    def __init__(self, log: Any, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._monotonic = monotonic
        self._told: dict[str, _Told] = {}

    def refused(self, who: str, why: str, *, observed: bool = False) -> None:
        """A delivery was refused; `observed`: would have been."""
        said = "a delivery would have been refused" if observed else "a delivery was refused"
        self._say(who, said, hook=who, why=why)

    def nameless(self, who: str, id_from: str) -> None:
        """A delivery was kept, and nothing stood where its id should: sent again, it will be another."""
        self._say(f"{who} nameless", "a delivery has no id: sent again it counts as new", hook=who, id_from=id_from)

    def _say(self, key: str, said: str, **fields: str) -> None:
        now, known = self._monotonic(), self._told.get(key)
        if known is not None and now < known.until:
            known.untold += 1
            return
        before = 0 if known is None else known.untold
        self._told[key] = _Told(now + _EVERY)
        self._log.warning(said, **fields, more_before=before)
