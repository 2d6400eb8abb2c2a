"""Checks: what must hold of an asset's data, looked at by a step of its own right after the asset's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from freshet.definitions.asset import Asset, AssetSpec, DepSpec, parameters_of
from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect, expect_function
from freshet.definitions.names import check_name
from freshet.definitions.outcome import Json
from freshet.definitions.partitions import PartitionsSpec
from freshet.definitions.retries import NEVER, Retries, RetrySpec, retry_spec
from freshet.definitions.source import Source, caller_source, collect
from freshet.errors import DefinitionError

__all__ = [
    "Check",
    "CheckResult",
    "CheckSpec",
    "Severity",
    "check",
    "check_severity",
    "check_step",
    "is_check",
    "is_imported",
]

Severity = Literal["error", "warn"]
"""How bad it is that a check fails: a `warn` never stops anything."""
_ASSET_HINT = "give the asset, or its name"
_YES = "write True or False"


def check_step(asset: str, name: str) -> str:
    """What a check's step is called in runs, journals and the API: `sales.not_negative`."""
    return f"{asset}.{name}"


def is_check(step: str) -> bool:
    """Whether a step of that name is a check's: names of assets and jobs have no point."""
    return "." in step


def is_imported(name: str) -> bool:
    """Whether a check of that name was imported: such a name begins with who ran it, as `dbt:unique_orders_id`."""
    return ":" in name


@dataclass(frozen=True)
class CheckSpec:
    """A check as plain data. `whole`: of all partitions together. `deps`: whose values its function takes. `timeout`:
    seconds. `resources`: what else it takes, by parameter."""

    name: str
    asset: str
    blocking: bool = False
    severity: Severity = "error"
    whole: bool = False
    deps: tuple[DepSpec, ...] = ()
    retries: RetrySpec = NEVER
    timeout: float | None = None
    resources: tuple[str, ...] = ()
    wants_ctx: bool = False
    doc: str = ""
    source: Source | None = None

    @property
    def step(self) -> str:
        """Its step's name."""
        return check_step(self.asset, self.name)

    def as_step(self, partitions: PartitionsSpec | None) -> AssetSpec:
        """What reads its inputs: as of an asset of this name, with the partitions of the one that it checks."""
        return AssetSpec(
            name=self.step,
            deps=self.deps,
            partitions=None if self.whole else partitions,
            retries=self.retries,
            timeout=self.timeout,
            wants_ctx=self.wants_ctx,
            source=self.source,
        )


@dataclass(frozen=True)
class CheckResult:
    """What a check's function may return instead of True or False: `CheckResult(rows > 0, metadata={"rows": rows})`.
    `severity`: another than the check's."""

    passed: bool
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json])
    severity: Severity | None = None

    def __post_init__(self) -> None:
        """Refuse another severity, and metadata without names. Raises `DefinitionError`."""
        expect(self.metadata, (Mapping,), "CheckResult: metadata", 'write metadata={"rows": 3}')
        if self.severity is not None:
            check_severity(self.severity, "CheckResult")


class Check:
    """A function that looks at an asset's data. Calling it calls the function."""

    def __init__(self, spec: CheckSpec, function: Callable[..., Any]) -> None:
        self.spec = spec
        self.function = function
        self.__name__ = spec.name
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The plain function, for tests."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<check {self.spec.step}>"


def check(
    *,
    asset: Asset | str,
    name: str | None = None,
    blocking: bool = False,
    severity: Severity = "error",
    whole: bool = False,
    retries: int | Retries = 0,
    timeout: Duration | None = None,
) -> Callable[[Callable[..., Any]], Check]:
    """Declare a check of an asset: `@check(asset="sales", blocking=True)` on a function that returns True or False,
    or a `CheckResult`.

    It runs after the asset's step, in the same run, whoever asked for that. Each parameter other than `ctx` names an
    asset, usually the one that is checked, and receives its value. A function that raises has failed, whatever its
    severity.

    `blocking`: a failure of severity "error" stops what is downstream. The steps below it in the run are skipped; and
    for conditions the partition is neither there nor updated, for those below it, until its blocking checks have all
    passed, in that run or in another (`freshet verify`). A function below that takes many partitions gets it only
    then. What was made stays as it is, and can be taken by hand.

    `whole`: a check of all partitions together, which receives their values by key. It runs with each run that makes
    one of them, and cannot be blocking: a run is of one partition.
    """
    target = asset.spec.name if isinstance(asset, Asset) else expect(asset, (str,), "@check: asset", _ASSET_HINT)

    def make(wrapped: Callable[..., Any]) -> Check:
        expect_function(wrapped, "@check")
        called = check_name(name or wrapped.__name__, what=f"check of {target}")
        what = f"check {check_step(target, called)}"
        code = wrapped.__code__
        wants_ctx, by_argument = parameters_of(wrapped, what)
        if expect(whole, (bool,), f"{what}: whole", _YES) and expect(blocking, (bool,), f"{what}: blocking", _YES):
            raise DefinitionError(
                f"{what}: a check of all partitions together cannot be blocking",
                hint="leave out whole=True, so that each partition is checked when it is made; or blocking=True",
                file=code.co_filename,
                line=code.co_firstlineno,
            )
        spec = CheckSpec(
            name=called,
            asset=target,
            blocking=expect(blocking, (bool,), f"{what}: blocking", _YES),
            severity=check_severity(severity, what),
            whole=whole,
            deps=tuple(by_argument.values()),
            retries=retry_spec(retries, f"{what}: retries"),
            timeout=None if timeout is None else parse_duration(timeout, what=f"{what}: timeout"),
            wants_ctx=wants_ctx,
            doc=(wrapped.__doc__ or "").strip().partition("\n")[0],
            source=Source(code.co_filename, code.co_firstlineno),
        )
        made = Check(spec, wrapped)
        collect(made)
        return made

    return make


def check_severity(severity: object, what: str) -> Severity:
    """Return `severity`, or raise `DefinitionError`."""
    for known in get_args(Severity):
        if severity == known:
            return severity  # type: ignore[return-value]  # it is one of them
    place = caller_source()
    raise DefinitionError(
        f"{what}: severity={severity!r:.60} is no severity",
        hint='write severity="error" or severity="warn"',
        file=place.file if place else None,
        line=place.line if place else None,
    )
