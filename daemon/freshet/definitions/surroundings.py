"""What a step runs in: how much memory, with which environment, in which folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType

from freshet.definitions.expect import expect
from freshet.definitions.sizes import parse_size
from freshet.errors import DefinitionError

__all__ = ["Surroundings", "surroundings"]

MEMORY_MIN = 16 * 2**20
"""A worker that has done nothing has some MiB of its own."""


@dataclass(frozen=True)
class Surroundings:
    """Other than usual. `memory`: bytes that the step's processes may have together, None for any; `env`: variables
    set over the worker's; `cwd`: the working directory, relative to the host's (the setting `root`)."""

    memory: int | None = None
    env: dict[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None


def surroundings(
    memory: str | None, env: dict[str, str] | None, cwd: str | Path | None, what: str
) -> Surroundings | None:
    """Of a decorator's `memory=`, `env=` and `cwd=`; None where none is given. Raises `DefinitionError`."""
    if memory is None and env is None and cwd is None:
        return None
    return Surroundings(
        memory=None if memory is None else _memory(memory, f"{what}: memory"),
        env=_env(env, f"{what}: env"),
        cwd=None if cwd is None else _cwd(cwd, f"{what}: cwd"),
    )


def _memory(memory: str, what: str) -> int:
    size = parse_size(memory, what=what)
    if size < MEMORY_MIN:
        raise DefinitionError(f"{what}: {memory!r} is less than any step needs", hint="give it 16MiB or more")
    return size


def _env(env: dict[str, str] | None, what: str) -> dict[str, str]:
    hint = 'for example env={"PGAPPNAME": "sales"}'
    expect(env, (dict, NoneType), what, hint)
    for name, value in (env or {}).items():
        expect(name, (str,), f"{what}: a name", hint)
        expect(value, (str,), f"{what}[{name!r}]", hint)
        if not name or "=" in name or "\0" in name + value:
            raise DefinitionError(f"{what}: {name!r} is no name of a variable, or its value no text for one", hint=hint)
    return dict(env or {})


def _cwd(cwd: str | Path, what: str) -> str:
    expect(cwd, (str, Path), what, 'for example cwd="work"')
    text = str(cwd)
    if not text or "\0" in text:
        raise DefinitionError(f"{what}: {text!r} is no path", hint='for example cwd="work"')
    return text
