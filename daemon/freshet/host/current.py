"""The context of the step that runs, for code that it was not handed to."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from freshet.errors import NoStep
from freshet.host.contexts import JobContext

__all__ = ["begun", "current", "running"]

_current: ContextVar[JobContext | None] = ContextVar("freshet_current", default=None)
begun: list[JobContext] = []
"""The steps that run in this process: where it is one alone, it is the current one in every thread."""


def current() -> JobContext:
    """`ctx` of the asset or job that runs, wherever the code stands: in a helper, a library's callback, a thread of its
    own.

    Raises `NoStep` where none runs (while plugins load, in a sensor), and in a thread where several do.
    """
    found = _current.get()
    if found is not None:
        return found
    if len(begun) == 1:  # a thread does not inherit what its maker's context holds
        return begun[0]
    raise NoStep(
        "freshet.current(): several steps run in this process" if begun else "freshet.current(): no step runs here",
        hint="call it in the function of an asset or a job, or in what that calls; give threads a copy of the context",
    )


@contextmanager
def running(context: JobContext) -> Generator[None]:
    """Inside, this is the step that runs."""
    token = _current.set(context)
    begun.append(context)
    try:
        yield
    finally:
        begun.remove(context)
        _current.reset(token)
