"""The kinds of bad steps, by the executor in which they are at home, and how each is to end there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.executors.zoo import coroutines, functions, programs

__all__ = ["ANIMALS", "HERDS", "Animal", "plugin"]


@dataclass(frozen=True)
class Animal:
    """`outcome`, and the error's type (None: none is looked for). `canceled`: somebody has to. `loud`: it takes
    `megabytes`. `fills`: it takes `folder`, of a small disk. `alone`: healthy steps in its own executor cannot keep
    their latency beside it, for it holds what they share."""

    name: str
    outcome: str
    error: str | None = None
    canceled: bool = False
    loud: bool = False
    fills: bool = False
    alone: bool = False


_FUNCTIONS = (
    Animal("raises", "failed", "ValueError"),
    Animal("hangs", "failed", "TimeoutError"),
    Animal("spins", "failed", "TimeoutError"),
    Animal("forks_twice", "succeeded"),
    Animal("forks_twice_and_hangs", "canceled", canceled=True),
    Animal("ignores_sigterm", "canceled", canceled=True),
    Animal("blocks_signals", "canceled", canceled=True),
    Animal("leaves_signals_blocked", "succeeded"),
    Animal("eats_memory", "failed", "MemoryError"),
    Animal("exits", "died", "WorkerDied"),
    Animal("leaves", "failed", "SystemExit"),
    Animal("crashes", "died", "WorkerDied"),
    Animal("kills_itself", "died", "WorkerDied"),
    Animal("fills_the_disk", "failed", "OSError", fills=True),
    Animal("prints_where_nothing_fits", "failed", "ValueError"),
    Animal("prints_a_lot", "succeeded", loud=True),
    Animal("writes_a_lot", "succeeded", loud=True),
    Animal("writes_short_lines", "succeeded", loud=True),
    Animal("writes_without_an_end", "failed", "TimeoutError"),
    Animal("prints_binary", "succeeded"),
    Animal("leaves_threads", "succeeded"),
    Animal("closes_everything", "died", "WorkerDied"),
    Animal("writes_on_sockets", "died", "WorkerDied"),
    Animal("closes_its_output", "succeeded"),
)

_COROUTINES = (
    Animal("raises", "failed", "ValueError"),
    Animal("hangs", "failed", "TimeoutError"),
    Animal("spins", "failed", "LoopHeld", alone=True),
    Animal("spins_on", "failed", "TimeoutError", alone=True),
    Animal("blocks", "failed", "LoopHeld", alone=True),
    Animal("forks_twice", "succeeded"),
    Animal("forks_twice_and_hangs", "canceled", canceled=True),
    Animal("ignores_its_end", "canceled", canceled=True),
    Animal("blocks_signals", "failed", "TimeoutError", alone=True),
    Animal("exits", "died", "WorkerDied", alone=True),
    Animal("leaves", "failed", "SystemExit"),
    Animal("crashes", "died", "WorkerDied", alone=True),
    Animal("kills_itself", "died", "WorkerDied", alone=True),
    Animal("fills_the_disk", "failed", "OSError", fills=True),
    Animal("prints_a_lot", "succeeded", loud=True),
    Animal("prints_binary", "succeeded"),
    Animal("leaves_threads", "succeeded"),
    Animal("leaves_tasks", "succeeded"),
    Animal("writes_on_sockets", "died", "WorkerDied", alone=True),
    Animal("closes_everything", "died", "WorkerDied", alone=True),
)

_PROGRAMS = (
    Animal("raises", "failed", "CommandFailed"),
    Animal("hangs", "failed", "TimeoutError"),
    Animal("spins", "failed", "TimeoutError"),
    Animal("forks_twice", "succeeded"),
    Animal("forks_twice_and_hangs", "canceled", canceled=True),
    Animal("ignores_sigterm", "canceled", canceled=True),
    Animal("blocks_signals", "canceled", canceled=True),
    Animal("eats_memory", "failed", "MemoryError"),
    Animal("crashes", "failed", "CommandFailed"),
    Animal("kills_itself", "failed", "CommandFailed"),
    Animal("fills_the_disk", "failed", "CommandFailed", fills=True),
    Animal("fills_what_it_may", "failed", "CommandFailed"),
    Animal("writes_a_lot", "succeeded", loud=True),
    Animal("writes_without_an_end", "failed", "TimeoutError"),
    Animal("prints_binary", "succeeded"),
    Animal("reports_binary", "succeeded"),
    Animal("reports_without_an_end", "failed", "TimeoutError"),
    Animal("closes_everything", "succeeded"),
    Animal("closes_and_hangs", "failed", "TimeoutError"),
)

_FAR = ("eats_memory", "writes_short_lines", "prints_where_nothing_fits")
"""What a cluster takes no limit for, or what shows nothing that another one does not."""

ANIMALS: dict[str, tuple[Animal, ...]] = {
    "process": _FUNCTIONS,
    "reused": _FUNCTIONS,
    "inline": _COROUTINES,
    "command": _PROGRAMS,
    "detached": _FUNCTIONS,
    "dask": tuple(replace(one, alone=True) for one in _FUNCTIONS if one.name not in _FAR),
}

HERDS = tuple((executor, animal) for executor, animals in ANIMALS.items() for animal in animals)
"""All of them."""

_EXPRESSIONS = {"process": "Process()", "reused": "Process(reuse=True)", "detached": '"detached"'}


def plugin(executor: str, address: str = "") -> str:
    """The plugin with the bad steps of an executor, and with healthy ones. `address`: of a Dask scheduler."""
    if executor == "inline":
        return coroutines.PLUGIN
    if executor == "command":
        return programs.PLUGIN
    return functions.PLUGIN.replace("EXECUTOR", _EXPRESSIONS.get(executor, f"Dask({address!r})"))
