"""Who besides its condition asks for an asset, and what keeps them from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from freshet.definitions.outcome import Json
from freshet.engine.views import ScheduleView, SensorState

if TYPE_CHECKING:
    from freshet.engine.engine import Engine

__all__ = ["Maker", "makers"]


@dataclass(frozen=True, slots=True)
class Maker:
    """A sensor or a schedule that asks for the asset. `problem`: why it does not, now; `waiting`: its requests that
    wait before they become runs; `error`: what it failed of, as long as it is failing."""

    kind: Literal["sensor", "schedule"]
    name: str
    status: str
    problem: str | None = None
    waiting: int = 0
    error: Json = None


def makers(engine: Engine, asset: str) -> tuple[Maker, ...]:
    """Those of an asset: sensors first."""
    definitions = engine.instruments.in_force.definitions
    sensors = {spec.name for spec in definitions.sensors if spec.target == asset}
    schedules = {spec.name for spec in definitions.schedules if spec.target == asset}
    return (
        *(
            Maker("sensor", one.name, one.status, one.quarantined or one.waits_for, one.pending, _error(one))
            for one in engine.desk.states()
            if one.name in sensors
        ),
        *(
            Maker("schedule", one.name, one.status, error=_error(one))
            for one in engine.timetable.views()
            if one.name in schedules
        ),
    )


def _error(one: SensorState | ScheduleView) -> Json:
    return one.last_error if one.status == "failing" else None
