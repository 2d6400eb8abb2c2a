"""What a sensor's options ask of the target of a run. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freshet.definitions.flow import Flow
from freshet.definitions.names import nearest_hint
from freshet.definitions.outcome import Json

if TYPE_CHECKING:
    from freshet.definitions.graph import Definitions
    from freshet.definitions.sensor import SensorSpec

__all__ = ["target_problem"]


def target_problem(definitions: Definitions, sensor: SensorSpec, target: str | None) -> tuple[str, str] | None:
    """What is wrong with a target under the sensor's options, and the remedy; None if all is well."""
    flow: Flow = sensor.flow
    asset, job = definitions.asset.get(target or ""), definitions.job.get(target or "")
    if flow.batch is not None and asset is not None and asset.partitions is not None:
        return (
            f"sensor {sensor.name!r}: batch= for {target!r}, which has partitions: those are one run each",
            "leave batch out, or use debounce or throttle; an asset below it can take many partitions at once",
        )
    if flow.batch is not None and job is not None:
        properties: dict[str, Json] = job.parameters.get("properties", {})
        if "items" not in properties and not job.parameters.get("additionalProperties"):
            return (
                f"sensor {sensor.name!r}: batch= hands the job {target!r} a parameter `items`, which it does not have",
                f"write def {target}(ctx, items: list[dict])",
            )
        if others := [name for name in job.parameters.get("required", []) if name != "items"]:
            return (
                f"sensor {sensor.name!r}: batch= hands the job {target!r} the parameter `items` alone, and it needs "
                f"{', '.join(map(repr, others))}, too",
                "give it a default, or take it from the items",
            )
    if job is not None and flow.batch is None and flow.params:
        properties = job.parameters.get("properties", {})
        for name in flow.params:
            if name not in properties:
                return (
                    f"sensor {sensor.name!r}: params= names {name!r}, which the job {target!r} does not have",
                    nearest_hint(name, properties),
                )
    if flow.partition is not None and (job is not None or (asset is not None and asset.partitions is None)):
        return (
            f"sensor {sensor.name!r}: partition= for {target!r}, which has no partitions",
            "leave partition out, or name it in params",
        )
    return None
