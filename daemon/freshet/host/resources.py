"""Resources: which step uses which, and their opening and closing in a worker."""

from __future__ import annotations

import asyncio
import dataclasses
import graphlib
import inspect
import typing
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from freshet.definitions.asset import Asset
from freshet.definitions.check import Check
from freshet.definitions.job import Job
from freshet.definitions.names import nearest_hint
from freshet.definitions.resource import Resource
from freshet.definitions.sensor import Sensor
from freshet.errors import DefinitionError, FreshetError

__all__ = ["ResourceError", "Resources", "bind", "needed", "resource_problems", "sensor_problems"]


# --- definitions ---------------------------------------------------------------------------------------------


def bind(assets: Iterable[Asset | Check], jobs: Iterable[Job], names: frozenset[str]) -> None:
    """Tell the specs which of their parameters are resources: of assets and checks, they are no upstreams then."""
    if not names:
        return
    for asset in assets:
        spec: Any = asset.spec  # of either kind
        used = [dep for dep in asset.spec.deps if dep.argument == dep.asset and dep.mapping is None]
        found = tuple(dep.asset for dep in used if dep.asset in names)
        if found:
            deps = tuple(dep for dep in asset.spec.deps if dep.asset not in found)
            asset.spec = dataclasses.replace(spec, deps=deps, resources=(*spec.resources, *found))
    for job in jobs:
        found = tuple(name for name in inspect.signature(job.function).parameters if name in names)
        if found:
            job.spec = dataclasses.replace(job.spec, resources=found)


def resource_problems(resources: Iterable[Resource], assets: Mapping[str, Asset]) -> Iterator[DefinitionError]:
    """Names that are taken, parameters that nothing gives, and rings."""
    found: dict[str, Resource] = {}
    for one in resources:
        other = found.setdefault(one.spec.name, one)
        if other is not one:
            yield _wrong(one, f"is there twice, also at {other.spec.source}", "give one of them another name")
        if (asset := assets.get(one.spec.name)) is not None:
            said = f"has the name of an asset, at {asset.spec.source}: a parameter {one.spec.name!r} would mean both"
            yield _wrong(one, said, "give one of them another name")
    for one in found.values():
        for name in one.spec.needs:
            if name not in found and name in one.spec.required and _model(one, name) is None:
                said = f"the parameter {name!r} is neither a resource nor annotated with a pydantic model"
                hint = nearest_hint(name, found.keys() - {one.spec.name})
                yield _wrong(one, said, hint or f"declare @resource def {name}(): ..., or give it a default")
    try:
        graphlib.TopologicalSorter({name: found.keys() & set(one.spec.needs) for name, one in found.items()}).prepare()
    except graphlib.CycleError as error:
        ring: list[str] = error.args[1]
        yield _wrong(found[ring[0]], f"is needed by itself: {' -> '.join(reversed(ring))}", "take one of these out")


def needed(sensor: Sensor, known: Collection[str]) -> tuple[str, ...]:
    """The names of the resources that a sensor's looks are given."""
    return tuple(name for name in sensor.resources if name in known) if sensor.resources else ()


def sensor_problems(sensors: Iterable[Sensor], known: Collection[str]) -> Iterator[DefinitionError]:
    """Sensors that need what is no resource."""
    for one in sensors:
        source = one.spec.source
        file, line = (source.file, source.line) if source else (None, None)
        for name in one.resources:
            if name not in known and name not in one.optional:
                said = f"sensor {one.name}: there is no resource {name!r}"
                hint = nearest_hint(name, known) if known else f"declare one: @resource above def {name}()"
                yield DefinitionError(said, hint=hint, file=file, line=line)


def _wrong(one: Resource, said: str, hint: str) -> DefinitionError:
    source = one.spec.source
    file, line = (source.file, source.line) if source else (None, None)
    return DefinitionError(f"resource {one.spec.name}: {said}", hint=hint, file=file, line=line)


def _model(one: Resource, parameter: str) -> Callable[[], object] | None:
    """The pydantic model that a parameter is annotated with."""
    try:
        hint = typing.get_type_hints(one.function).get(parameter)
    except Exception:  # an annotation may be anything, and so may what it raises
        return None
    return hint if isinstance(hint, type) and hasattr(hint, "model_fields") else None


# --- in a worker ---------------------------------------------------------------------------------------------


class ResourceError(FreshetError):
    """A resource does not do as one does."""


class Resources:
    """Those that are open. As a context manager: closed at the end, in reverse; what a closing raises is raised then,
    or noted on what is being raised already."""

    def __init__(self, known: Mapping[str, Resource]) -> None:
        self._known = known
        self._open: dict[str, Any] = {}
        self._closings: list[tuple[str, Callable[[], object]]] = []
        self._runner: asyncio.Runner | None = None

    def get(self, names: Iterable[str]) -> dict[str, Any]:
        """By name, opened if they are not. Raises what opening one raises, with a note that says which."""
        return {name: self._get(name) for name in names}

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """Its result: on the loop that the async resources were opened on, if there are any."""
        return asyncio.run(_awaited(awaitable)) if self._runner is None else self._runner.run(_awaited(awaitable))

    def __enter__(self) -> Resources:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed: BaseException | None = None
        while self._closings:
            name, close = self._closings.pop()
            self._open.pop(name, None)
            try:
                close()
            except BaseException as error:
                error.add_note(f"while closing the resource {name!r}")
                if raised is not None:
                    raised.add_note(f"and closing the resource {name!r} failed: {type(error).__name__}: {error}")
                failed = failed or error
        self._open.clear()
        if self._runner is not None:
            self._runner.close()
            self._runner = None
        if failed is not None and raised is None:
            raise failed

    def _get(self, name: str) -> Any:
        if name not in self._open:
            one = self._known[name]
            needs = {need: self._get(need) for need in one.spec.needs if need in self._known}
            try:
                for need in one.spec.needs:
                    if need not in needs and (model := _model(one, need)) is not None:
                        needs[need] = model()
                self._open[name] = self._opened(one, needs)
            except BaseException as error:
                error.add_note(f"while opening the resource {name!r}")
                raise
        return self._open[name]

    def _opened(self, one: Resource, needs: dict[str, Any]) -> Any:
        made = one.function(**needs)
        if inspect.iscoroutinefunction(one.function):
            return self.in_loop(made)
        if inspect.isasyncgenfunction(one.function):
            value = self.in_loop(made.__anext__())
            self._closings.append((one.spec.name, lambda: self.in_loop(_end_async(one.spec.name, made))))
            return value
        if inspect.isgeneratorfunction(one.function):
            value = next(made)
            self._closings.append((one.spec.name, lambda: _end(one.spec.name, made)))
            return value
        return made

    def in_loop(self, awaitable: Awaitable[Any]) -> Any:
        """Of an opening or closing: its result, on the loop of the async resources."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(_awaited(awaitable))


def _end(name: str, generator: Any) -> None:
    try:
        next(generator)
    except StopIteration:
        return
    generator.close()
    raise _yields_on(name)


async def _end_async(name: str, generator: Any) -> None:
    try:
        await generator.__anext__()
    except StopAsyncIteration:
        return
    await generator.aclose()
    raise _yields_on(name)


def _yields_on(name: str) -> ResourceError:
    return ResourceError(f"the resource {name!r} yields twice", hint="what comes after its one yield closes it")


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
