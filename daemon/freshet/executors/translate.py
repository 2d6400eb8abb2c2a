"""Between the records of the daemon and the messages of the host."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from freshet.definitions.graph import Definitions
from freshet.definitions.source import Source
from freshet.definitions.wire import unpacked
from freshet.executors.base import CallEnd, LoadProblem, LoadReport, StepCall, StepEnd
from freshet.host.messages import Call, Called, Ended, InputsFile, Loaded, Run, ValueData
from freshet.store.records import CheckEnd, StepToRun, TickError, ValueRef

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["DefinitionsRead", "called", "load_report", "read_definitions", "run_order", "step_call", "step_end"]

_MOST_MISSING = 5_000
"""Keys without a value that are named for each upstream; of the others it is said how many there are."""


class DefinitionsRead(NamedTuple):
    """What the plugins declare. A setting of a wrong type is a problem at its place in the plugin."""

    definitions: Definitions
    problems: tuple[LoadProblem, ...] = ()


def read_definitions(told: Any) -> DefinitionsRead:
    """Of a host's description, which is used up."""
    try:
        return DefinitionsRead(unpacked(told))
    except ValidationError as error:
        wrong = tuple(_mistyped(one, told) for one in error.errors())
        return DefinitionsRead(Definitions(version=told["version"]), wrong)


def load_report(told: Loaded, described: DefinitionsRead | None) -> LoadReport:
    """What a host loaded. `described`: what it told before."""
    read = described if told["definitions"] is None else read_definitions(told["definitions"])
    assert read is not None, "told before, or now"
    return LoadReport(
        definitions=read.definitions,
        problems=(*(LoadProblem(**problem) for problem in told["problems"]), *read.problems),
        warnings=tuple(LoadProblem(**problem) for problem in told["warnings"]),
        start_method=told["start_method"],
    )


def _mistyped(error: ErrorDetails, definitions: dict[str, Any]) -> LoadProblem:
    """`assets.0.priority` is wrong: say it of the asset, by its name and where it stands."""
    kind, number, *path = error["loc"]
    found: dict[str, Any] = definitions[str(kind)][number] if isinstance(number, int) else {}
    source: Any = found.get("source")
    place: dict[str, Any] = asdict(source) if isinstance(source, Source) else source or {}
    what = ".".join(map(str, path))
    return LoadProblem(
        f"{str(kind).removesuffix('s')} {found.get('name')}: {what}: {error['msg']}, found {error['input']!r:.100}",
        hint="see the reference of its decorator for what it takes",
        file=place.get("file"),
        line=place.get("line"),
    )


def run_order(step: StepToRun, *, timezone: str = "UTC", inputs_file: InputsFile | None = None) -> Run:
    """A launch, for the host. `inputs_file`: what is written there is left out."""
    written = inputs_file["sections"] if inputs_file is not None else {}
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
        target=step.target,
        origin=step.origin,
        priority=step.priority,
        inputs={
            name: [(key, _value(ref)) for key, ref in refs.items()]
            for name, refs in step.inputs.items()
            if name not in written
        },
        inputs_file=inputs_file,
        missing={name: list(keys[:_MOST_MISSING]) for name, keys in step.missing.items()},
        missing_more={
            name: len(keys) - _MOST_MISSING for name, keys in step.missing.items() if len(keys) > _MOST_MISSING
        },
        timezone=timezone,
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
        error=None if error is None else TickError(error["type"], error["message"], error["traceback"]),
        final=error is not None and error.get("final", False),
        after=None if error is None else error.get("after"),
        version=told["version"],
        code=told["code"],
        check=CheckEnd(**told["check"]) if "check" in told else None,
    )


def step_call(told: Call) -> StepCall:
    """What a step asks for, for the engine."""
    return StepCall(
        run_id=told["run"],
        position=told["position"],
        attempt=told["attempt"],
        number=told["number"],
        call=told["call"],
        target=told["target"],
        params=told["params"],
        partition=told["partition"],
        waits=told["waits"],
        detached=told["detached"],
    )


def called(call: StepCall, end: CallEnd) -> Called:
    """The answer to a call, for the host."""
    return Called(
        op="called",
        run=call.run_id,
        position=call.position,
        attempt=call.attempt,
        number=call.number,
        sub_run=end.sub_run,
        state=end.state,
        error=end.error,
        hint=end.hint,
    )
