"""Whether what sensors listen to exists, and cannot be their own doing. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from freshet.definitions.listen import RUN_TYPES
from freshet.definitions.names import nearest_hint

if TYPE_CHECKING:
    from freshet.definitions.graph import Definitions
    from freshet.definitions.sensor import SensorSpec

__all__ = ["listen_problems"]

_CAUSED = frozenset({"materialized", "failed", "check_passed", "check_failed"})
"""What each run of an asset ends in: a sensor that answers it with a run of the same asset never ends."""


def listen_problems(definitions: Definitions) -> Iterator[tuple[SensorSpec, str, str]]:
    """What is wrong, and the remedy: names that nobody declares, and circles of sensors that would run for ever."""
    for sensor in definitions.sensors:
        if sensor.listens is None:
            continue
        known = {*definitions.asset, *definitions.job} if RUN_TYPES & {*sensor.listens.types} else {*definitions.asset}
        for name in sensor.listens.assets or ():
            if name not in known:
                said = f"sensor {sensor.name!r} listens to {name!r}, which no plugin declares"
                yield sensor, said, nearest_hint(name, known) or "no plugin declares anything that it could listen to"
    yield from _circles(definitions)


def _circles(definitions: Definitions) -> Iterator[tuple[SensorSpec, str, str]]:
    leads: dict[str, list[tuple[str, SensorSpec]]] = {}
    listening = [one for one in definitions.sensors if one.listens is not None and _CAUSED & {*one.listens.types}]
    for sensor in listening:
        assert sensor.listens is not None
        heard = definitions.asset if sensor.listens.assets is None else sensor.listens.assets
        for name in heard if sensor.target in definitions.asset else ():
            leads.setdefault(name, []).append((sensor.target or "", sensor))
    told = set[str]()
    for sensor in listening:
        path = None if sensor.target is None else _back(leads, sensor)
        if path is not None and told.isdisjoint(path):
            told.update(path)
            way = " -> ".join(repr(one) for one in path)
            said = f"sensor {sensor.name!r} asks for {sensor.target!r}, and hears of its own doing: by {way}, for ever"
            yield (
                sensor,
                said,
                "let the target depend on what it listens to (deps=, AutomationCondition.eager()), give it another "
                "target=, or retries= where failures are to be tried again",
            )


def _back(leads: dict[str, list[tuple[str, SensorSpec]]], sensor: SensorSpec) -> list[str] | None:
    """The sensors by which a run of the sensor's target comes back to it, itself last."""
    ways: list[tuple[str, list[str]]] = [(sensor.target or "", [])]
    seen = set[str]()
    while ways:
        asset, path = ways.pop()
        if asset in seen:
            continue
        seen.add(asset)
        for target, by in leads.get(asset, ()):
            if by.name == sensor.name:
                return [*path, by.name]
            ways.append((target, [*path, by.name]))
    return None
