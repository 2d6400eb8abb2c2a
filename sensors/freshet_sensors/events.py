"""Reading Freshet's own events to their end, from wherever the cursor stands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Literal

from freshet import DefinitionError, Happenings, Listen, SensorContext

__all__ = ["Start", "batches", "checked_names", "checked_start"]

Start = Literal["now", "all"]

_BATCH = 500
_STRIDE = 10_000
"""Events of no interest that are passed before that is worth a commit."""


async def batches(ctx: SensorContext, listens: Listen, start: Start) -> AsyncIterator[Happenings]:
    """What happened since the cursor. Each batch commits together with what is yielded while it is handled."""
    if ctx.cursor is None and start == "now":
        ctx.cursor = (await ctx.events(listens.types, listens.assets, after=None)).seq
        return
    after: int = ctx.cursor or 0
    while True:
        found = await ctx.events(listens.types, listens.assets, after=after, limit=_BATCH)
        yield found
        after = found.seq
        if found or after - (ctx.cursor or 0) >= _STRIDE:
            ctx.cursor = after
        ctx.lag(found.last - after, found[-1].at if found and found.more else None)
        if not found.more:
            return
        if found:
            await ctx.checkpoint()


def checked_start(name: str, start: str) -> Start:
    """Raises `DefinitionError` for one that is not known."""
    if start not in ("now", "all"):
        raise DefinitionError(f"{name}: start={start!r} is unknown", hint='use "now" or "all"')
    return "now" if start == "now" else "all"


def checked_names(what: str, given: Iterable[str] | str, known: Iterable[str]) -> tuple[str, ...]:
    """What was chosen of what is known, in the order of that. Raises `DefinitionError`."""
    chosen, known = {given} if isinstance(given, str) else {*given}, list(known)
    if unknown := sorted(chosen.difference(known), key=str):
        raise DefinitionError(f"{what}={unknown[0]!r} is unknown", hint=f"use {', '.join(known)}")
    if not chosen:
        raise DefinitionError(f"{what}= is empty", hint=f"use {', '.join(known)}")
    return tuple(one for one in known if one in chosen)
