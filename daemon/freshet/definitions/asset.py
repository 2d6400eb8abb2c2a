"""Assets: what is kept fresh."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import CO_VARARGS, CO_VARKEYWORDS
from pathlib import Path
from types import CodeType, FunctionType, NoneType
from typing import Annotated, Any, get_args, get_origin, overload

from freshet.definitions.annotations import single_value
from freshet.definitions.cache import CacheKey, CacheSpec, cache_spec
from freshet.definitions.code import code_version
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.durations import Duration
from freshet.definitions.executor import PROCESS, ExecutorSpec, executor_spec
from freshet.definitions.expect import expect, expect_function, expect_list, expect_tags
from freshet.definitions.flow import Overlap
from freshet.definitions.freshness import Freshness, FreshnessSpec
from freshet.definitions.mapping import All, Identity, Last, Mapping
from freshet.definitions.names import check_name, check_version
from freshet.definitions.partitions import PartitionsSpec
from freshet.definitions.pool import Pool, pool_option
from freshet.definitions.retries import NEVER, Retries, RetrySpec
from freshet.definitions.source import Source, collect
from freshet.definitions.step_options import step_options
from freshet.definitions.surroundings import Surroundings, surroundings
from freshet.errors import DefinitionError

__all__ = ["Asset", "AssetSpec", "Dep", "DepSpec", "asset", "merge_deps", "parameters_of", "policy_of"]


_SET_HINT = 'give the set itself, for example DynamicPartitions("batches")'
_SETS = (*get_args(PartitionsSpec), NoneType)
_PLAIN = (All, Identity, Last)
_WRITTEN = "write AutomationCondition.eager(), or several with | between them"
_CONDITION = (AutomationCondition, NoneType)
_TEXT = (str, NoneType)


@dataclass(frozen=True)
class DepSpec:
    """One upstream. `argument`: the parameter that receives its value, None for order alone.
    `mapping`: None means the default between the two sets. `single`: the parameter's annotation, where that is of a
    single value for certain."""

    asset: str
    argument: str | None = None
    mapping: Mapping | None = None
    single: str | None = field(default=None, compare=False)


class Dep:
    """`deps=[Dep("raw", mapping=Last())]`, or in an annotation: `raw: Annotated[list, Dep(mapping=Last())]`."""

    def __init__(self, asset: object = None, *, mapping: Mapping | None = None) -> None:
        name = asset.spec.name if isinstance(asset, Asset) else asset
        if name is not None and not isinstance(name, str):
            raise DefinitionError(f"Dep({asset!r}): not an asset", hint="give an asset or its name")
        self.asset = name
        if mapping is not None:
            expect(mapping, get_args(Mapping), "Dep(): mapping", _mapping_hint(mapping))
        self.mapping = mapping


@dataclass(frozen=True)
class AssetSpec:
    """An asset as plain data. Durations are seconds. `overlap`: unless "allow", no two runs make a partition at once;
    automation and backfills cancel and drop nothing, but wait; a step that waits for a run makes its own still.
    `resources`: the parameters that are no upstreams, known once all plugins are loaded. `code_version`: `version`, or
    else what `code.code_version` makes of the function; None without a function."""

    name: str
    deps: tuple[DepSpec, ...] = ()
    partitions: PartitionsSpec | None = None
    freshness: FreshnessSpec | None = None
    automation: AutomationCondition | None = None
    pool: str | None = None
    slots: int = 1
    priority: int = 0
    overlap: Overlap = "queue"
    retries: RetrySpec = NEVER
    timeout: float | None = None
    executor: ExecutorSpec = PROCESS
    surroundings: Surroundings | None = None
    resources: tuple[str, ...] = ()
    io: str | None = None
    cache: CacheSpec | None = None
    tags: dict[str, str] = field(default_factory=dict[str, str])
    group: str | None = None
    version: str | None = None
    code_version: str | None = None
    wants_ctx: bool = False
    doc: str = ""
    source: Source | None = None
    external: bool = False
    was: str | None = None


class Asset:
    """A function that makes an asset. Calling it calls the function."""

    def __init__(self, spec: AssetSpec, function: Callable[..., Any]) -> None:
        self.spec = spec
        self.function = function
        self.__name__ = spec.name
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The plain function, for tests."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<asset {self.spec.name}>"


@overload
def asset(function: Callable[..., Any], /) -> Asset: ...


@overload
def asset(
    *,
    name: str | None = None,
    deps: Iterable[Dep | Asset | str] = (),
    partitions: PartitionsSpec | None = None,
    freshness: Freshness | None = None,
    automation: AutomationCondition | None = None,
    pool: str | Pool | None = None,
    priority: int = 0,
    overlap: Overlap = "queue",
    retries: int | Retries = 0,
    timeout: Duration | None = None,
    executor: ExecutorSpec | str | None = None,
    memory: str | None = None,
    env: dict[str, str] | None = None,
    cwd: str | Path | None = None,
    io: str | None = None,
    cache: Duration | CacheKey | None = None,
    tags: dict[str, str] | None = None,
    group: str | None = None,
    version: str | None = None,
    was: str | None = None,
) -> Callable[[Callable[..., Any]], Asset]: ...


def asset(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    deps: Iterable[Dep | Asset | str] = (),
    partitions: PartitionsSpec | None = None,
    freshness: Freshness | None = None,
    automation: AutomationCondition | None = None,
    pool: str | Pool | None = None,
    priority: int = 0,
    overlap: Overlap = "queue",
    retries: int | Retries = 0,
    timeout: Duration | None = None,
    executor: ExecutorSpec | str | None = None,
    memory: str | None = None,
    env: dict[str, str] | None = None,
    cwd: str | Path | None = None,
    io: str | None = None,
    cache: Duration | CacheKey | None = None,
    tags: dict[str, str] | None = None,
    group: str | None = None,
    version: str | None = None,
    was: str | None = None,
) -> Any:
    """Declare an asset: `@asset`, or `@asset(partitions=..., automation=AutomationCondition.eager())`.

    Each parameter of the function other than `ctx` names an upstream asset and receives its value. `deps`
    adds upstreams without a value, or names the mapping of a parameter. `executor`: where it runs. `overlap`: as of a
    job, of runs that make the same partition.

    `version`: of its code, up to 64 characters, for you to change where `AutomationCondition.code_version_changed()` is
    to be told; without, it is a digest of the function's code, which an edit changes and a comment does not.

    `cache="1d"`, or a `CacheKey`: what was made of the same inputs by the same code is not made again, see there.
    `memory="512MiB"`: what all processes of the step may have together; beyond, the attempt fails as a `MemoryError`.
    `env`: variables over the worker's, for all to see (no secrets). `cwd`: where it works, relative to `root`.
    `was`: the name that it had before: its history, partitions and values go with it.
    """

    def make(wrapped: Callable[..., Any]) -> Asset:
        expect_function(wrapped, "@asset")
        called = check_name(name or wrapped.__name__, what="asset")
        what = f"asset {called}"
        spec = AssetSpec(
            partitions=expect(partitions, _SETS, f"{what}: partitions", _SET_HINT),
            freshness=policy_of(freshness, what),
            automation=expect(automation, _CONDITION, f"{what}: automation", _WRITTEN),
            **pool_option(pool, f"{what}: pool"),
            executor=executor_spec(executor, wrapped, what, ("partition",) if partitions else (), memory or env or cwd),
            **step_options(what, priority, retries, timeout, surroundings(memory, env, cwd, what), overlap),
            cache=cache_spec(cache, f"{what}: cache"),
            tags=expect_tags(tags, f"{what}: tags"),
            **_texts(what, io=io, group=group, was=was),
            **_told_by(wrapped, called, deps, version),
        )
        collect(made := Asset(spec, wrapped))
        return made

    return make if function is None else make(function)


def _texts(what: str, **given: str | None) -> dict[str, Any]:
    return {name: expect(text, _TEXT, f"{what}: {name}") for name, text in given.items()}


def _told_by(
    function: Callable[..., Any], called: str, deps: Iterable[Dep | Asset | str], version: str | None
) -> dict[str, Any]:
    """The part of a spec that the function itself says."""
    code = function.__code__
    wants_ctx, by_argument = parameters_of(function, f"asset {called}")
    return {
        "name": called,
        "deps": merge_deps(by_argument, deps, called),
        "version": _version(version, f"asset {called}"),
        "code_version": version or code_version(function),
        "wants_ctx": wants_ctx,
        "doc": (function.__doc__ or "").strip().partition("\n")[0],
        "source": Source(code.co_filename, code.co_firstlineno),
    }


def _version(version: str | None, what: str) -> str | None:
    expect(version, _TEXT, f"{what}: version", f'write version="{version}"')
    return None if version is None else check_version(version, what=f"{what}: version")


def policy_of(freshness: Freshness | None, what: str) -> FreshnessSpec | None:
    """The policy given as `freshness=`. Raises `DefinitionError` for anything else."""
    given: object = freshness
    within = given if isinstance(given, str) else "1h"
    expect(freshness, (Freshness, NoneType), f"{what}: freshness", f'write Freshness(within="{within}")')
    return None if freshness is None else freshness.spec


def _mapping_hint(mapping: object) -> str:
    meant = next((one.__name__ for one in get_args(Mapping) if one.__name__.lower() == str(mapping).lower()), "Last")
    return f"write {meant}()"


def parameters_of(function: Callable[..., Any], what: str) -> tuple[bool, dict[str, DepSpec]]:
    """Whether a function takes `ctx`, and the upstreams that its other parameters name, by parameter. `what`: whose it
    is, for what is said of it. Raises `DefinitionError`."""
    wants_ctx, found = False, dict[str, DepSpec]()
    if _takes_nothing(function):
        return wants_ctx, found
    hints = getattr(function, "__annotations__", {})
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise DefinitionError(
                f"{what}: the parameter {parameter} cannot name an upstream",
                hint="use plain named parameters",
                file=function.__code__.co_filename,
                line=function.__code__.co_firstlineno,
            )
        if parameter.name == "ctx":
            wants_ctx = True
            continue
        annotation = _resolve(hints.get(parameter.name), function, what)
        given = _annotated_dep(annotation, parameter.name, function.__code__, what)
        upstream = (given.asset if given else None) or parameter.name
        if (twice := next((one.argument for one in found.values() if one.asset == upstream), None)) is not None:
            raise DefinitionError(
                f"{what}: the parameters {twice!r} and {parameter.name!r} both name the upstream {upstream!r}",
                hint="take its values once, as the mapping that gives all of them",
                file=function.__code__.co_filename,
                line=function.__code__.co_firstlineno,
            )
        found[parameter.name] = DepSpec(
            asset=upstream,
            argument=parameter.name,
            mapping=given.mapping if given else None,
            single=single_value(annotation),
        )
    return wants_ctx, found


def _takes_nothing(function: Callable[..., Any]) -> bool:
    """Whether that can be seen without `inspect`, which takes longer than all the rest of a declaration."""
    if not isinstance(function, FunctionType) or function.__dict__:  # a signature of its own, or what it wraps
        return False
    code = function.__code__
    return not (code.co_argcount or code.co_kwonlyargcount or code.co_flags & (CO_VARARGS | CO_VARKEYWORDS))


def _resolve(annotation: Any, function: Callable[..., Any], what: str) -> Any:
    if not isinstance(annotation, str):
        return annotation
    code = function.__code__
    try:
        return eval(annotation, function.__globals__)  # noqa: S307  # the plugin's own annotation, in the plugin's process
    except DefinitionError as error:  # of what is wrong in it, the place is this one
        raise DefinitionError(error.message, hint=error.hint, file=code.co_filename, line=code.co_firstlineno) from None
    except Exception as error:  # one that does not resolve carries no Dep
        if "Dep(" not in annotation:
            return None
        raise DefinitionError(
            f"{what}: the annotation {annotation} cannot be read: {type(error).__name__}: {error}",
            hint='import what it names at the top of the file, or write deps=[Dep("upstream", mapping=...)]',
            file=code.co_filename,
            line=code.co_firstlineno,
        ) from None


def _annotated_dep(annotation: Any, argument: str, code: CodeType, what: str) -> Dep | None:
    if get_origin(annotation) is Annotated:
        for extra in get_args(annotation)[1:]:
            if isinstance(extra, Dep):
                return extra
            if isinstance(extra, get_args(Mapping)):
                raise DefinitionError(
                    f"{what}: the annotation of {argument!r} names a mapping without Dep",
                    hint=f"write Dep(mapping={type(extra).__name__}({'' if isinstance(extra, _PLAIN) else '...'}))",
                    file=code.co_filename,
                    line=code.co_firstlineno,
                )
    return None


@lru_cache(maxsize=4096)
def _dep_on(name: str) -> DepSpec:
    """One object for those that share an upstream, which are often declared one after the other."""
    return DepSpec(name)


def merge_deps(by_argument: dict[str, DepSpec], extra: Iterable[Dep | Asset | str], called: str) -> tuple[DepSpec, ...]:
    """The upstreams that parameters name, and those of `deps=`. Raises `DefinitionError`."""
    merged = {dep.asset: dep for dep in by_argument.values()}
    hint = 'write deps=["upstream"]' if not isinstance(extra, str) else f'write deps=["{extra}"]'
    for item in expect_list(extra, f"asset {called}: deps", hint):
        if isinstance(item, str) and item not in merged:
            merged[item] = _dep_on(item)
            continue
        dep = item if isinstance(item, Dep) else Dep(item)
        if dep.asset is None:
            raise DefinitionError(f"asset {called}: deps=[Dep()] names no asset", hint='write Dep("upstream", ...)')
        known = merged.get(dep.asset)
        merged[dep.asset] = DepSpec(
            asset=dep.asset,
            argument=known.argument if known else None,
            mapping=dep.mapping or (known.mapping if known else None),
            single=known.single if known else None,
        )
    return tuple(merged.values())
