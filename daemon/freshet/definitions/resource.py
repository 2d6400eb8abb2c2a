"""Resources: what steps use and do not make (a connection, a client), opened once in a worker and closed at its end."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

from freshet.definitions.expect import expect_function
from freshet.definitions.names import check_name
from freshet.definitions.source import Source, collect
from freshet.errors import DefinitionError

__all__ = ["Resource", "ResourceSpec", "resource"]


@dataclass(frozen=True)
class ResourceSpec:
    """A resource as plain data. `needs`: the names of its function's parameters, of which those without a default are
    `required`."""

    name: str
    needs: tuple[str, ...] = ()
    required: frozenset[str] = frozenset()
    doc: str = ""
    source: Source | None = None


class Resource:
    """A function that opens something for steps. Calling it calls the function."""

    def __init__(self, spec: ResourceSpec, function: Callable[..., Any]) -> None:
        self.spec = spec
        self.function = function
        self.__name__ = spec.name
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The plain function, for tests."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<resource {self.spec.name}>"


@overload
def resource(function: Callable[..., Any], /) -> Resource: ...


@overload
def resource(*, name: str | None = None) -> Callable[[Callable[..., Any]], Resource]: ...


def resource(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Declare a resource: a parameter of its name, of an asset or a job, receives what the function returns or yields.

        @resource
        def warehouse(settings: WarehouseSettings):
            with connect(settings.dsn) as connection:
                yield connection

    A `def` or an `async def`, either plain or a generator, which goes on at the worker's end, in the reverse order of
    opening; what it raises then is an error of the step. It is opened when a step first asks for it: once in a worker,
    which is once for a step, or, with `executor=Process(reuse=True)`, once for all that the worker runs. A worker that
    is killed closes nothing. Its own parameters are other resources, or annotated with a pydantic model: that is made
    without arguments, so that a `pydantic_settings.BaseSettings` reads the environment.
    """

    def make(wrapped: Callable[..., Any]) -> Resource:
        expect_function(wrapped, "@resource")
        called = check_name(name or wrapped.__name__, what="resource")
        code = wrapped.__code__
        parameters = inspect.signature(wrapped).parameters
        for parameter in parameters.values():
            variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY)
            if variable or parameter.name == "ctx":
                raise DefinitionError(
                    f"resource {called}: the parameter {parameter} cannot name a resource",
                    hint="use plain named parameters; it may outlive a step, whose ctx freshet.current() gives",
                    file=code.co_filename,
                    line=code.co_firstlineno,
                )
        spec = ResourceSpec(
            name=called,
            needs=tuple(parameters),
            required=frozenset(one.name for one in parameters.values() if one.default is one.empty),
            doc=(wrapped.__doc__ or "").strip().partition("\n")[0],
            source=Source(code.co_filename, code.co_firstlineno),
        )
        made = Resource(spec, wrapped)
        collect(made)
        return made

    return make if function is None else make(function)
