"""History by the names that assets have now: carried on in pieces, after they have come into force."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from freshet.engine.instruments import persist, recall
from freshet.store.renaming import carry_names, names_to_carry

if TYPE_CHECKING:
    from freshet.engine.engine import Engine

__all__ = ["carry_on"]

_RUNS = 500
"""A transaction: what the writer is held for stays under 20 ms."""


async def carry_on(engine: Engine) -> None:
    """Until all is carried; what the end of the daemon leaves is for the next start."""
    more = await recall(engine.instruments, names_to_carry, what="names of assets in history")
    while more and engine.state != "stopping":
        more = await persist(engine.instruments, partial(carry_names, runs=_RUNS), what="names of assets in history")
