"""What a sensor's options ask of the target of a run. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freshet.definitions.flow import Flow
from freshet.definitions.names import nearest_hint
from freshet.definitions.outcome import Json

if TYPE_CHECKING:
    from freshet.definitions.graph import Definitions
    from freshet.definitions.job import JobSpec
    from freshet.definitions.sensor import SensorSpec

__all__ = ["external_target", "target_problem"]


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
    if job is not None and flow.batch is None and (found := _params_problem(sensor, job)) is not None:
        return found
    if flow.partition is not None and (job is not None or (asset is not None and asset.partitions is None)):
        return (
            f"sensor {sensor.name!r}: partition= for {target!r}, which has no partitions",
            "leave partition out, or name it in params",
        )
    return None


def _params_problem(sensor: SensorSpec, job: JobSpec) -> tuple[str, str] | None:
    """What of the parameters that are known beforehand the job does not take, or misses."""
    properties: dict[str, Json] = job.parameters.get("properties", {})
    given = dict.fromkeys([*(sensor.gives or ()), *sensor.flow.params])
    for name in given:
        if name not in properties and not job.parameters.get("additionalProperties"):
            write = f"write def {job.name}(ctx, {', '.join(given)})"
            if name not in (sensor.gives or ()):
                said, hint = "params= names", nearest_hint(name, properties) if properties else write
            else:
                said, hint = "it gives", write + (", or name fewer in params=" if properties else "")
            return f"sensor {sensor.name!r}: {said} {name!r}, which the job {job.name!r} does not have", hint
    missing = [name for name in job.parameters.get("required", []) if name not in given]
    if sensor.gives is not None and missing:
        gives = ", ".join(map(repr, sensor.gives)) or "no parameters"
        return (
            f"sensor {sensor.name!r}: it gives {gives}, and the job {job.name!r} needs {', '.join(map(repr, missing))}",
            "name it in params=, or give it a default",
        )
    return None


def external_target(definitions: Definitions, what: str, target: str) -> tuple[str, str] | None:
    """What is wrong with a target that no run makes, and the remedy; None if it is not such a one."""
    if target not in definitions.asset or not definitions.asset[target].external:
        return None
    said = f"{what} targets {target!r}, which is external: no run makes it"
    return said, f'leave target= out, and yield Report("{target}") when it was made'
