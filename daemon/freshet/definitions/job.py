"""Jobs: one call with validated parameters, keeping nothing fresh."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, overload

from freshet.definitions.durations import Duration
from freshet.definitions.executor import PROCESS, ExecutorSpec, executor_spec
from freshet.definitions.expect import expect, expect_function, expect_tags
from freshet.definitions.flow import Overlap
from freshet.definitions.names import check_name
from freshet.definitions.outcome import Json
from freshet.definitions.pool import Pool, pool_option
from freshet.definitions.retries import Retries, RetrySpec
from freshet.definitions.source import Source, collect
from freshet.definitions.step_options import step_options
from freshet.definitions.surroundings import Surroundings, surroundings
from freshet.errors import DefinitionError

__all__ = ["Job", "JobSpec", "job"]


@dataclass(frozen=True)
class JobSpec:
    """A job as plain data. `parameters` is the JSON Schema of its parameters; `plain`: of those whose annotations are
    plain, what these are (see `definitions.plain`)."""

    name: str
    parameters: dict[str, Json] = field(default_factory=dict[str, Json])
    plain: dict[str, Json] = field(default_factory=dict[str, Json])
    pool: str | None = None
    slots: int = 1
    priority: int = 0
    overlap: Overlap = "allow"
    retries: RetrySpec = field(default_factory=RetrySpec)
    timeout: float | None = None
    executor: ExecutorSpec = PROCESS
    surroundings: Surroundings | None = None
    resources: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict[str, str])
    group: str | None = None
    wants_ctx: bool = False
    doc: str = ""
    source: Source | None = None


class Job:
    """A function called by runs of its own."""

    def __init__(self, spec: JobSpec, function: Callable[..., Any]) -> None:
        self.spec = spec
        self.function = function
        self.__name__ = spec.name
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The plain function, for tests."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<job {self.spec.name}>"


@overload
def job(function: Callable[..., Any], /) -> Job: ...


@overload
def job(
    *,
    name: str | None = None,
    pool: str | Pool | None = None,
    priority: int = 0,
    overlap: Overlap = "allow",
    retries: int | Retries = 0,
    timeout: Duration | None = None,
    executor: ExecutorSpec | str | None = None,
    memory: str | None = None,
    env: dict[str, str] | None = None,
    cwd: str | Path | None = None,
    tags: dict[str, str] | None = None,
    group: str | None = None,
) -> Callable[[Callable[..., Any]], Job]: ...


def job(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    pool: str | Pool | None = None,
    priority: int = 0,
    overlap: Overlap = "allow",
    retries: int | Retries = 0,
    timeout: Duration | None = None,
    executor: ExecutorSpec | str | None = None,
    memory: str | None = None,
    env: dict[str, str] | None = None,
    cwd: str | Path | None = None,
    tags: dict[str, str] | None = None,
    group: str | None = None,
) -> Any:
    """Declare a job. Its parameters, other than `ctx`, are validated by their annotations before it runs, and as far as
    can be before a run is admitted: those that a schedule gives when the plugins are loaded, those of a `RunRequest`
    where it is yielded, names and plain types (numbers, texts, lists and dicts of them, `Literal`) wherever it is
    called. `executor`: where it runs; `memory`, `env` and `cwd`: as of an asset.

    `overlap`: what becomes of a run that is asked for while another one of the job has not ended, whoever asks.
    "allow": it runs beside it. "skip": it comes to nothing, and who asks is told. "queue": it waits until no other is
    under way. "latest": as "queue", and those that have not begun are canceled. "cancel": as "latest", and so is what
    is under way. The `overlap` of a sensor or a schedule is about its own runs, and holds before this one."""

    def make(wrapped: Callable[..., Any]) -> Job:
        expect_function(wrapped, "@job")
        called = check_name(name or wrapped.__name__, what="job")
        what = f"job {called}"
        code = wrapped.__code__
        parameters = inspect.signature(wrapped).parameters
        for parameter in parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise DefinitionError(
                    f"{what}: the parameter {parameter} has no name to validate",
                    hint="use plain named parameters",
                    file=code.co_filename,
                    line=code.co_firstlineno,
                )
        spec = JobSpec(
            name=called,
            **pool_option(pool, f"{what}: pool"),
            executor=executor_spec(executor, wrapped, what, parameters, memory or env or cwd),
            **step_options(what, priority, retries, timeout, surroundings(memory, env, cwd, what), overlap),
            tags=expect_tags(tags, f"{what}: tags"),
            group=expect(group, (str, NoneType), f"{what}: group"),
            wants_ctx="ctx" in parameters,
            doc=(wrapped.__doc__ or "").strip().partition("\n")[0],
            source=Source(code.co_filename, code.co_firstlineno),
        )
        made = Job(spec, wrapped)
        collect(made)
        return made

    return make if function is None else make(function)
