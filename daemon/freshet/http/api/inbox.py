"""The inbox: hooks, deliveries, replays."""

from __future__ import annotations

import base64
from dataclasses import asdict
from functools import partial
from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as InPath

from freshet.errors import Conflict, UnknownName
from freshet.http.api.context import Api, Before, Limit, known
from freshet.http.api.convert import tick_answer
from freshet.http.models import (
    DeliveryAnswer,
    DeliveryBodyAnswer,
    DeliveryState,
    HookAnswer,
    ReplayAnswer,
    ReplayBody,
)
from freshet.store.inbox import body_of, delivery_row, delivery_rows
from freshet.store.tickers import load_tickers

__all__ = ["router"]

router = APIRouter(prefix="/inbox", tags=["inbox"])

Number = Annotated[int, InPath(ge=1, le=2**63 - 1)]


@router.get("")
async def list_hooks(api: Api) -> tuple[HookAnswer, ...]:
    """All hooks, by path, and what waits behind each."""
    return tuple(
        HookAnswer(
            sensor=one.sensor,
            path=one.intake.path,
            scheme=one.intake.scheme,
            observe=one.intake.observe,
            max_body=one.intake.max_body,
            waiting=one.waiting,
            oldest=one.oldest,
            parked=one.parked,
            problem=one.problem,
            full=one.full,
            copies=one.copies,
        )
        for one in await api.control.hooks()
    )


@router.get("/{sensor}")
async def list_deliveries(
    api: Api, sensor: str, state: DeliveryState | None = None, limit: Limit = 50, before: Before = None
) -> tuple[DeliveryAnswer, ...]:
    """The deliveries to a sensor's hook, newest first."""
    query = partial(delivery_rows, ticker_id=await _ticker(api, sensor), state=state, limit=limit, before=before)
    return tuple(DeliveryAnswer(**asdict(row)) for row in await api.control.store.read(query))


@router.get("/{sensor}/{number}")
async def get_delivery(api: Api, sensor: str, number: Number) -> DeliveryBodyAnswer:
    """One delivery, with its body."""
    ticker = await _ticker(api, sensor)
    row = await api.control.store.read(partial(delivery_row, ticker_id=ticker, row_id=number))
    if row is None:
        raise UnknownName(f"the sensor {sensor!r} has no delivery {number}", hint="see freshet inbox SENSOR")
    body = await api.control.store.read(partial(body_of, row_id=number))
    try:
        return DeliveryBodyAnswer(**asdict(row), body=body.decode())
    except UnicodeDecodeError:
        return DeliveryBodyAnswer(**asdict(row), body_base64=base64.b64encode(body).decode())


@router.post("/{sensor}/replay")
async def replay(api: Api, sensor: str, body: ReplayBody) -> ReplayAnswer:
    """Let kept deliveries go through today's rules once more; with `dry_run` only say what that would ask for."""
    known(api.control.definitions.sensor, sensor, "sensor")
    ranged = body.since is not None or body.until is not None
    if [body.ids is not None, ranged, body.all].count(True) != 1:
        raise Conflict("which deliveries?", hint="give either ids, or since and until, or all")
    report = await api.control.replay(
        sensor, ids=body.ids, since=body.since, until=body.until, dry_run=body.dry_run, again=body.again
    )
    dry = None if report.dry_run is None else tick_answer(report.dry_run)
    return ReplayAnswer(sensor=sensor, count=report.count, returned=report.returned, dry_run=dry)


async def _ticker(api: Api, sensor: str) -> int:
    known(api.control.definitions.sensor, sensor, "sensor")
    rows = await api.control.store.read(partial(load_tickers, kind="sensor"))
    return next((row.id for row in rows if row.name == sensor), 0)
