"""Between the records of the daemon and the messages of the host."""

from __future__ import annotations

from functools import cache

from pydantic import TypeAdapter

from freshet.definitions.graph import Definitions
from freshet.executors.base import LoadProblem, LoadReport, StepEnd
from freshet.host.messages import Ended, Loaded, Run, ValueData
from freshet.store.records import StepToRun, TickError, ValueRef

__all__ = ["load_report", "run_order", "step_end"]


@cache
def _definitions() -> TypeAdapter[Definitions]:
    return TypeAdapter(Definitions)


def load_report(told: Loaded) -> LoadReport:
    """What a host loaded. Raises `pydantic.ValidationError` where it is not what this release's hosts say."""
    return LoadReport(
        definitions=_definitions().validate_python(told["definitions"]),
        problems=tuple(LoadProblem(**problem) for problem in told["problems"]),
        warnings=tuple(LoadProblem(**problem) for problem in told["warnings"]),
        start_method=told["start_method"],
    )


def run_order(step: StepToRun) -> Run:
    """A launch, for the host."""
    return Run(
        op="run",
        run=step.run_id,
        position=step.position,
        attempt=step.attempt,
        step=step.name,
        kind=step.kind,
        key=step.key,
        partition_metadata=step.partition_metadata,
        params=step.params,
        tags=step.tags,
        inputs={name: [(key, _value(ref)) for key, ref in refs.items()] for name, refs in step.inputs.items()},
        missing={name: list(keys) for name, keys in step.missing.items()},
    )


def _value(ref: ValueRef) -> ValueData:
    return ValueData(path=ref.path, io=ref.io, size=ref.size, digest=ref.digest)


def step_end(told: Ended) -> StepEnd:
    """How a launch ended, for the engine."""
    value, error = told["value"], told["error"]
    return StepEnd(
        run_id=told["run"],
        position=told["position"],
        attempt=told["attempt"],
        outcome=told["outcome"],
        value=None if value is None else ValueRef(**value),
        metadata=told["metadata"],
        error=None if error is None else TickError(**error),
    )
