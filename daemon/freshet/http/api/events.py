"""What happened, in the order of commits."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Annotated

import anyio
from fastapi import APIRouter, Query

from freshet.engine.control import EventStream
from freshet.errors import Conflict
from freshet.http.api.context import After, Api, Context, Limit
from freshet.http.api.convert import event_answer
from freshet.http.models import EventsPage
from freshet.store.events import events_after
from freshet.store.records import Event

__all__ = ["router"]

router = APIRouter(prefix="/events", tags=["events"])


@router.get("")
async def list_events(
    api: Api, after: After = 0, limit: Limit = 100, timeout: Annotated[float, Query(ge=0, le=300)] = 0.0
) -> EventsPage:
    """Events after `after`; where there are none yet, the first that come within `timeout` seconds."""
    found: tuple[Event, ...] = ()
    with anyio.move_on_after(timeout):
        while not found and not api.closing.is_set():
            with api.control.subscribe() as stream:
                found = await _read(api, after, limit)
                if not found:
                    await api.or_closing(_news(stream))
    found = found or await _read(api, after, limit)
    return EventsPage(events=tuple(map(event_answer, found)), next=found[-1].seq if found else after)


async def _news(stream: EventStream) -> None:
    with suppress(Conflict):  # fell behind: the store has them all
        await stream.next()


async def _read(api: Context, after: int, limit: int) -> tuple[Event, ...]:
    return tuple(await api.control.store.read(partial(events_after, seq=after, limit=limit)))
