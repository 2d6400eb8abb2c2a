"""A step's environment and working directory, for as long as it runs."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from freshet.definitions.surroundings import Surroundings
from freshet.errors import FreshetError

__all__ = ["NoSuchFolder", "surrounded"]


class NoSuchFolder(FreshetError):
    """A step's working directory cannot be entered."""


def surrounded(given: Surroundings | None) -> AbstractContextManager[None]:
    """Inside, what was declared holds; afterwards what held before. Raises `NoSuchFolder`."""
    return nullcontext() if given is None else _surrounded(given)


@contextmanager
def _surrounded(given: Surroundings) -> Generator[None]:
    env, folder = dict(os.environ), os.getcwd()  # noqa: PTH109
    try:
        if given.cwd is not None:
            _enter(given.cwd)
        os.environ.update(given.env)
        if "TZ" in given.env:
            time.tzset()
        yield
    finally:
        os.chdir(folder)
        for name in given.env:
            if name in env:
                os.environ[name] = env[name]
            else:
                os.environ.pop(name, None)
        if "TZ" in given.env:
            time.tzset()


def _enter(cwd: str) -> None:
    try:
        os.chdir(cwd)
    except OSError as error:
        raise NoSuchFolder(
            f"the working directory {cwd!r} cannot be entered: {error.strerror}",
            hint="make it, or correct cwd=: a relative one is below the setting `root`",
        ) from None
