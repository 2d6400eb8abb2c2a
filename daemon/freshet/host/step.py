"""One step: the call, and keeping what it returns. Runs in a worker. `inputs.py` finds the arguments."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import freshet
from freshet.definitions.asset import Asset, AssetSpec
from freshet.definitions.executor import Command
from freshet.definitions.job import JobSpec
from freshet.definitions.outcome import GiveUp, RetryLater, patience
from freshet.definitions.retries import is_retried
from freshet.errors import FreshetError
from freshet.host.checking import checked
from freshet.host.current import begun, running
from freshet.host.describe import Catalog
from freshet.host.fits import check_returned
from freshet.host.inputs import read_arguments, set_of
from freshet.host.journal import Journal
from freshet.host.line import Line
from freshet.host.messages import CheckData, ErrorData, Run, ValueData, WorkerEnded
from freshet.host.resources import Resources
from freshet.host.step_context import RunningAsset, RunningCheck, RunningJob
from freshet.host.surroundings import surrounded
from freshet.io.registry import write_value
from freshet.masking import masked, masked_data

__all__ = ["error_data", "perform"]

_NOTHING = Resources({})
_OUR_FOLDER = str(Path(freshet.__file__).parent)
_ASYNCIO = str(Path(asyncio.__file__).parent)


def perform(
    order: Run,
    catalog: Catalog,
    journal: Journal,
    *,
    values_dir: Path,
    kept: Resources | None = None,
    line: Line | None = None,
) -> WorkerEnded:
    """Run the step. Whatever user code raises, also to end the process, is an error of the step. `kept`: the resources
    of a worker that outlives it; without, what it opens is closed with it. `line`: to the daemon, if there is one.
    """
    context = _context(order, catalog, journal, line)
    value: ValueData | None = None
    version: str | None = None
    error: ErrorData | None = None
    check: CheckData | None = None
    spec = _spec(order, catalog)
    # Each function that a forked worker goes through costs it pages: what most steps do without, they go around.
    plain = kept is None and not catalog.resources and (spec is None or spec.surroundings is None)
    try:
        if plain:
            begun.append(context)
            value, version, check = _perform(order, catalog, context, values_dir, _NOTHING)
        else:
            opened = Resources(catalog.resources) if kept is None else nullcontext(kept)
            with running(context), surrounded(None if spec is None else spec.surroundings), opened as resources:
                value, version, check = _perform(order, catalog, context, values_dir, resources)
    except BaseException as raised:
        value = version = check = None
        error = error_data(raised)
        if isinstance(raised, RetryLater):
            error["after"] = patience(raised)
        elif isinstance(raised, GiveUp) or (spec is not None and not is_retried(spec.retries, raised)):
            error["final"] = True
    if plain:
        begun.remove(context)
    context.write_progress()
    code = spec.code_version if isinstance(spec, AssetSpec) else None
    told = WorkerEnded(
        op="ended", value=value, metadata=masked_data(context.collected), error=error, version=version, code=code
    )
    if check is not None:
        told["check"] = check
    return told


def _perform(
    order: Run, catalog: Catalog, context: RunningJob, values_dir: Path, resources: Resources
) -> tuple[ValueData | None, str | None, CheckData | None]:
    if isinstance(context, RunningCheck):
        return None, None, _perform_check(order, catalog, context, values_dir, resources)
    if isinstance(context, RunningAsset):
        return *_perform_asset(order, catalog, context, values_dir, resources), None
    _perform_job(order, catalog, context, values_dir, resources)
    return None, None, None


def _spec(order: Run, catalog: Catalog) -> AssetSpec | JobSpec | None:
    """What the step was declared as."""
    return catalog.definitions.job.get(order["step"]) or catalog.definitions.stepped(order["step"])


def _context(order: Run, catalog: Catalog, journal: Journal, line: Line | None) -> RunningJob:
    if order["kind"] == "job":
        return RunningJob(order, journal, line=line)
    kind = RunningCheck if order["kind"] == "check" else RunningAsset
    return kind(order, journal, set_of(order["step"], order, catalog), line=line)


def _perform_asset(
    order: Run, catalog: Catalog, context: RunningAsset, values_dir: Path, resources: Resources
) -> tuple[ValueData, str | None]:
    """The kept value, and the version of the data: what the function said, else the value's digest; of None, nothing:
    it stands for data that the function keeps elsewhere."""
    asset = catalog.assets.get(order["step"])
    if asset is None:
        raise _gone("asset", order["step"])
    if isinstance(asset.spec.executor, Command):
        value = _command(asset.spec.executor, order, context, catalog, values_dir, asset.spec.io)
    else:
        arguments = read_arguments(order, asset, catalog, values_dir) | resources.get(asset.spec.resources)
        if asset.spec.wants_ctx:
            arguments["ctx"] = context
        value = _call(asset.function, arguments, resources)
    check_returned(asset.function, value)
    kept = write_value(
        value,
        values_dir=values_dir,
        asset=asset.spec.name,
        partition_key=order["key"],
        run_id=order["run"],
        attempt=order["attempt"],
        io=asset.spec.io,
        managers=catalog.managers,
    )
    version = context.version or (None if value is None else kept.digest)
    digest = context.version if context.version and kept.io == "none" else kept.digest
    return ValueData(path=kept.path, io=kept.io, size=kept.size, digest=digest), version


def _perform_check(
    order: Run, catalog: Catalog, context: RunningCheck, values_dir: Path, resources: Resources
) -> CheckData:
    check, reads = catalog.checks.get(order["step"]), catalog.definitions.stepped(order["step"])
    if check is None or reads is None:
        raise _gone("check", order["step"])
    given = resources.get(check.spec.resources)
    arguments = read_arguments(order, Asset(reads, check.function), catalog, values_dir) | given
    if check.spec.wants_ctx:
        arguments["ctx"] = context
    return checked(check.spec, _call(check.function, arguments, resources), context)


def _perform_job(order: Run, catalog: Catalog, context: RunningJob, values_dir: Path, resources: Resources) -> None:
    job = catalog.jobs.get(order["step"])
    if job is None:
        raise _gone("job", order["step"])
    checked = catalog.parameters[job.spec.name].check(order["params"])
    if isinstance(job.spec.executor, Command):
        _command(job.spec.executor, order, context, catalog, values_dir)
        return
    arguments = checked | resources.get(job.spec.resources)
    if job.spec.wants_ctx:
        arguments["ctx"] = context
    _call(job.function, arguments, resources)


def _command(
    spec: Command, order: Run, context: RunningJob, catalog: Catalog, values_dir: Path, io: str | None = None
) -> Any:
    from freshet.host.command import run_command  # what few steps need is not in every worker

    decode = partial(catalog.managers.decode, wanted=Any)
    return run_command(spec, order, context, values_dir=values_dir, io=io, decode=decode)


def _gone(what: str, name: str) -> FreshetError:
    said = f"the {what} {name!r} is not among the definitions in force"
    return FreshetError(said, hint="its plugin was changed or removed")


def _call(function: Callable[..., Any], arguments: dict[str, Any], resources: Resources) -> Any:
    result: Any = function(**arguments)
    # Not `inspect.isawaitable`: an abstract base class's check touches much memory in a forked process.
    return resources.run(result) if hasattr(result, "__await__") else result


# --- errors --------------------------------------------------------------------------------------------------

_TEXT_MAX = 20_000
"""Characters of an error's message, and of its traceback's end, that are kept."""


def error_data(error: BaseException) -> ErrorData:
    """What is told of an error: its traceback begins with the first frame that is the user's."""
    kind = type(error)
    ours = kind.__module__ == "builtins" or kind.__module__.startswith("freshet.")
    name = kind.__qualname__ if ours else f"{kind.__module__}.{kind.__qualname__}"
    message = f"the step called sys.exit({error.code!r})" if isinstance(error, SystemExit) else _text_of(error)
    _trim(error, set())
    shown = "".join(traceback.format_exception(error)) if error.__traceback__ is not None else ""
    return ErrorData(type=name, message=masked(message)[:_TEXT_MAX], traceback=masked(shown)[-_TEXT_MAX:])


def _text_of(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception as broken:  # a user's __str__
        return f"({type(error).__name__}.__str__ raised {type(broken).__name__})"


def _trim(error: BaseException, seen: set[int]) -> None:
    """Cut our frames, and asyncio's, off the front of each traceback in the chain."""
    if id(error) in seen:
        return
    seen.add(id(error))
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith((_OUR_FOLDER, _ASYNCIO)):
        trace = trace.tb_next
    error.__traceback__ = trace
    group = cast("BaseExceptionGroup[BaseException]", error) if isinstance(error, BaseExceptionGroup) else None
    for other in (error.__cause__, error.__context__, *(group.exceptions if group else ())):
        if other is not None:
            _trim(other, seen)
