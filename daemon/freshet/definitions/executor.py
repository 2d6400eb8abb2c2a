"""Where a step runs, as plain data: `executor=` of assets and jobs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from freshet.definitions.argv import argument_fields, check_argument
from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect, expect_list
from freshet.definitions.names import nearest_hint
from freshet.errors import DefinitionError

__all__ = [
    "PROCESS",
    "Command",
    "Dask",
    "Detached",
    "ExecutorSpec",
    "Inline",
    "Lane",
    "Process",
    "executor_spec",
    "lane_of",
]

Lane = Literal["process", "reused", "inline", "detached", "dask"]
"""Steps of one lane share its slots: `[process] workers`, or the lane's own in `[executors]`. "reused": some more than
there are workers, so that one which is done finds the next step there."""

_HINT = 'for example executor="inline", or Process(reuse=True)'


def _count(value: object, what: str) -> None:
    if type(value) is not int or not 1 <= value <= 1_000_000_000:
        raise DefinitionError(f"{what} is {value!r}", hint="give a whole number of at least 1")


@dataclass(frozen=True)
class Process:
    """A process of its own for each step, forked from the loaded plugins; the default.

    `reuse`: a worker is kept and runs one such step after another, several times as many a second: what a step leaves
    behind in memory (module globals, caches, an open client) the next one finds. It is ended, between two steps, after
    `steps` of them, when it has grown by `growth` MiB, when nothing was to do for a minute, and with the definitions. A
    step that kills it costs nobody but itself. Raises `DefinitionError`.
    """

    reuse: bool = False
    steps: int = 1000
    growth: int = 256
    kind: Literal["process"] = "process"

    def __post_init__(self) -> None:
        expect(self.reuse, (bool,), "Process(reuse=)", "write Process(reuse=True)")
        _count(self.steps, "Process(steps=)")
        _count(self.growth, "Process(growth=)")


@dataclass(frozen=True)
class Inline:
    """An `async def` step in the event loop of a process that is kept for such steps: many at once, each waiting for
    something. They share its memory and its one thread of Python.

    `stall`: how long a step may hold the loop (computing, `time.sleep`, a client that is not asynchronous) before it is
    timed out at the line where it stands. Raises `DefinitionError`.
    """

    stall: float = 2.0
    kind: Literal["inline"] = "inline"

    def __init__(self, stall: Duration | float = 2.0, kind: Literal["inline"] = "inline") -> None:
        seconds = stall if isinstance(stall, int | float) else parse_duration(stall, what="Inline(stall=)")
        if not 0.05 <= seconds <= 3600:
            raise DefinitionError(f"Inline(stall={stall!r}) is out of range", hint='give "50ms" to "1h"')
        object.__setattr__(self, "stall", seconds)
        object.__setattr__(self, "kind", "inline")


@dataclass(frozen=True)
class Command:
    """A program instead of the function, whose body is not run; its parameters still name upstreams or parameters.

    `argv`: the program and its arguments, without a shell. In each, `{partition.key}`, `{partition.metadata.NAME}`,
    `{params.NAME}`, `{tags.NAME}`, `{run_id}`, `{attempt}` and `{name}` are filled in; an argument that is one field
    alone and whose value is a list becomes as many arguments. Besides, the program finds FRESHET_RUN and its like in
    its environment, and may report on file descriptor 3: see `host.command`. Raises `DefinitionError`.
    """

    argv: tuple[str, ...]
    kind: Literal["command"] = "command"

    def __init__(self, argv: Iterable[str], kind: Literal["command"] = "command") -> None:
        parts = expect_list(argv, "Command()", 'write each argument by itself: Command(["dbt", "run"])')
        if not parts:
            raise DefinitionError("Command([]) names no program", hint='for example Command(["dbt", "run"])')
        object.__setattr__(self, "argv", tuple(check_argument(part, "Command()") for part in parts))
        object.__setattr__(self, "kind", "command")


@dataclass(frozen=True)
class Detached:
    """The function in a process in a session of its own, which goes on when `freshet` stops, is restarted or upgraded:
    the next daemon finds it again by its journal and takes its result. It loads the plugins as they were when it began.

    Under systemd only with `KillMode=process`, as the unit that is shipped has it.
    """

    kind: Literal["detached"] = "detached"


@dataclass(frozen=True)
class Dask:
    """A task of a Dask cluster that is there, reached at `address` (`tcp://scheduler:8786`) through `distributed`,
    which the extra `freshet[dask]` brings. The plugins' sources travel to its workers, and what the step returns comes
    back with its journal; its inputs travel there, unless they lie in a store. Raises `DefinitionError`.
    """

    address: str
    kind: Literal["dask"] = "dask"

    def __post_init__(self) -> None:
        expect(self.address, (str,), "Dask(address=)", 'write Dask("tcp://scheduler:8786")')
        scheme, _, place = self.address.partition("://")
        if scheme not in ("tcp", "tls", "ws", "wss", "ucx") or not place:
            raise DefinitionError(
                f"Dask({self.address!r}) is no address of a scheduler", hint='write Dask("tcp://scheduler:8786")'
            )


ExecutorSpec = Process | Inline | Command | Detached | Dask
"""Told apart by `kind`."""

PROCESS = Process()
"""The default; one object, since nearly all steps have it."""
_NAMED: dict[str, ExecutorSpec] = {"process": PROCESS, "inline": Inline(), "detached": Detached()}


def executor_spec(
    given: ExecutorSpec | str | None,
    function: Callable[..., Any],
    what: str,
    takes: Collection[str],
    own: object,
) -> ExecutorSpec:
    """What a decorator's `executor=` means for `function`. `takes`: the parameters that a command can be given, or
    `partition`; `own`: it declares a memory limit, an environment or a folder of its own. Raises `DefinitionError`."""
    if given is None or given is PROCESS:
        return PROCESS
    what = f"{what}: executor"
    if isinstance(given, str):
        if given not in _NAMED:
            raise DefinitionError(f"{what}: there is no executor {given!r}", hint=nearest_hint(given, _NAMED) or _HINT)
        given = _NAMED[given]
    spec = expect(given, get_args(ExecutorSpec), what, _HINT)
    if isinstance(spec, Inline) and not inspect.iscoroutinefunction(function):
        code = function.__code__
        raise DefinitionError(
            f"{what}: only an async def runs inline, and {code.co_name} is a def",
            hint="write async def, or executor=Process(reuse=True) for many short steps",
            file=code.co_filename,
            line=code.co_firstlineno,
        )
    if own and isinstance(spec, Inline | Dask):
        said = f"{what}: {type(spec).__name__}: its process is not its own: it takes no memory=, env= or cwd="
        raise DefinitionError(said, hint="leave them out, or give it another executor")
    if isinstance(spec, Command):
        _check_fields(spec, takes, what)
    return spec


def _check_fields(spec: Command, takes: Collection[str], what: str) -> None:
    for field in argument_fields(spec.argv):
        root, _, rest = field.partition(".")
        name = rest.partition(".")[0]
        if root == "partition" and root not in takes:
            raise DefinitionError(f"{what}: {{{field}}}: there is no partition", hint="give it @asset(partitions=...)")
        if root == "params" and name not in takes:
            hint = nearest_hint(name, takes) if takes else "name it as a parameter of the job's function"
            raise DefinitionError(f"{what}: {{{field}}}: there is no parameter {name!r}", hint=hint)


def lane_of(spec: ExecutorSpec) -> Lane:
    """Whose slots a step with this executor takes."""
    if isinstance(spec, Process):
        return "reused" if spec.reuse else "process"
    return "process" if isinstance(spec, Command) else spec.kind
