"""Sensors: what they are, what they remember, and a hand on them."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter

from freshet.engine.control import SensorState
from freshet.http.api.context import Api, Before, Limit, known, known_sensor
from freshet.http.api.convert import cursor_answer, sensor_answer, tick_answer
from freshet.http.models import (
    CursorAnswer,
    CursorBody,
    RollbackAnswer,
    RollbackBody,
    SensorAnswer,
    TickAnswer,
    TickBody,
    TickRowAnswer,
)
from freshet.store.queries import ticks

__all__ = ["router"]

router = APIRouter(prefix="/sensors", tags=["sensors"])


@router.get("")
async def list_sensors(api: Api) -> tuple[SensorAnswer, ...]:
    """All sensors, by name."""
    specs = api.control.definitions.sensor
    return tuple(sensor_answer(specs[one.name], one) for one in api.control.sensors() if one.name in specs)


@router.get("/{name}")
async def get_sensor(api: Api, name: str) -> SensorAnswer:
    """One sensor."""
    return sensor_answer(known(api.control.definitions.sensor, name, "sensor"), _state(api, name))


@router.post("/{name}/tick")
async def tick(api: Api, name: str, body: TickBody) -> TickAnswer:
    """Tick now and wait for the outcome; with `dry_run` nothing of it is kept."""
    known_sensor(api.control.definitions, name)
    cursor = body.cursor if "cursor" in body.model_fields_set else ...
    return tick_answer(await api.control.tick(name, dry_run=body.dry_run, cursor=cursor, full=body.full))


@router.get("/{name}/cursor")
async def get_cursor(api: Api, name: str) -> CursorAnswer:
    """What the sensor remembers."""
    known_sensor(api.control.definitions, name)
    return cursor_answer(_state(api, name))


@router.put("/{name}/cursor")
async def put_cursor(api: Api, name: str, body: CursorBody) -> CursorAnswer:
    """Replace it; a tick in flight will be refused."""
    known_sensor(api.control.definitions, name)
    return cursor_answer(await api.control.set_cursor(name, body.cursor))


@router.post("/{name}/rollback")
async def roll_back(api: Api, name: str, body: RollbackBody) -> RollbackAnswer:
    """Set cursor and ledger back to the end of a tick; with `dry_run`, say what that would do."""
    known(api.control.definitions.sensor, name, "sensor")
    report = await api.control.roll_back(name, body.to, again=body.again, dry_run=body.dry_run)
    return RollbackAnswer.model_validate(report, from_attributes=True)


@router.post("/{name}/pause")
async def pause(api: Api, name: str) -> SensorAnswer:
    """Stop ticking; the cursor stays."""
    spec = known(api.control.definitions.sensor, name, "sensor")
    return sensor_answer(spec, await api.control.pause(name))


@router.post("/{name}/resume")
async def resume(api: Api, name: str) -> SensorAnswer:
    """Tick again; also ends a quarantine and a back-off."""
    spec = known(api.control.definitions.sensor, name, "sensor")
    return sensor_answer(spec, await api.control.resume(name))


@router.get("/{name}/history")
async def history(api: Api, name: str, limit: Limit = 50, before: Before = None) -> tuple[TickRowAnswer, ...]:
    """Its ticks that had an effect or failed, newest first; `before`: the id of the last one seen."""
    known(api.control.definitions.sensor, name, "sensor")
    rows = await api.control.store.read(partial(ticks, sensor=name, limit=limit, before=before))
    return tuple(TickRowAnswer.model_validate(row, from_attributes=True) for row in rows)


def _state(api: Api, name: str) -> SensorState:
    return known({one.name: one for one in api.control.sensors()}, name, "sensor")
