"""Sensors: what they are, what they remember, and a hand on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from fastapi import APIRouter

from freshet.engine.control import HookView, SensorState
from freshet.http.api.context import Api, Before, Limit, known, known_sensor
from freshet.http.api.convert import cursor_answer, sensor_answer, tick_answer
from freshet.http.models import (
    CursorAnswer,
    CursorBody,
    OffenceAnswer,
    RollbackAnswer,
    RollbackBody,
    SensorAnswer,
    TickAnswer,
    TickBody,
    TickRowAnswer,
)
from freshet.store.offences import offences
from freshet.store.queries import ticks
from freshet.store.tickers import has_entries

__all__ = ["router"]

router = APIRouter(prefix="/sensors", tags=["sensors"])


@router.get("")
async def list_sensors(api: Api) -> tuple[SensorAnswer, ...]:
    """All sensors, by name."""
    specs = api.control.definitions.sensor
    found = await _with_what_waits(api, [one for one in api.control.sensors() if one.name in specs])
    return tuple(sensor_answer(specs[one.name], one) for one in found)


@router.get("/{name}")
async def get_sensor(api: Api, name: str) -> SensorAnswer:
    """One sensor, with what it did to its evaluators."""
    spec = known(api.control.definitions.sensor, name, "sensor")
    (found,) = await _with_what_waits(api, [_state(api, name)])
    rows = await api.control.store.read(partial(offences, sensor=name))
    told = tuple(OffenceAnswer.model_validate(row, from_attributes=True) for row in rows)
    return sensor_answer(spec, found).model_copy(update={"offences": told})


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
    return await _cursor(api, _state(api, name))


@router.put("/{name}/cursor")
async def put_cursor(api: Api, name: str, body: CursorBody) -> CursorAnswer:
    """Replace it; a tick in flight will be refused."""
    known_sensor(api.control.definitions, name)
    return await _cursor(api, await api.control.set_cursor(name, body.cursor))


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


async def _cursor(api: Api, state: SensorState) -> CursorAnswer:
    has_ledger = await api.control.store.read(partial(has_entries, sensor=state.name))
    return cursor_answer(state, has_ledger=has_ledger)


def _state(api: Api, name: str) -> SensorState:
    return known({one.name: one for one in api.control.sensors()}, name, "sensor")


async def _with_what_waits(api: Api, states: Sequence[SensorState]) -> list[SensorState]:
    """The deliveries that wait in the inbox lag, too, and only the store knows of them."""
    specs = api.control.definitions.sensor
    if all(specs[one.name].intake is None for one in states):
        return list(states)
    hooks = {one.sensor: one for one in await api.control.hooks()}
    return [one if (hook := hooks.get(one.name)) is None else _lagging(one, hook) for one in states]


def _lagging(state: SensorState, hook: HookView) -> SensorState:
    times = [at for at in (state.lag_since, hook.oldest) if at is not None]
    lag = state.lag + hook.waiting
    state = replace(state, lag=lag, lag_since=min(times, default=None), parked=hook.parked)
    if hook.problem is None or state.status != "ok":
        return state
    others = len(hook.intake.secret) > 1  # which may be there
    return replace(state, status="ok" if others else "waiting", waits_for=f"/hooks/{hook.intake.path}: {hook.problem}")
