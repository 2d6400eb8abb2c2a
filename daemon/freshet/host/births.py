"""How children come to be: forked from the loaded host, or, where that is unsafe, new processes that load again."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

import orjson

from freshet.host.child import ChildPlan, become, play
from freshet.host.describe import Catalog
from freshet.host.sources import Sources
from freshet.host.worker import Bench

__all__ = ["Births", "Forker", "SpawnOrder", "Spawner"]

_REHEARSALS = 32
"""Enough for the interpreter to be done with rewriting."""


class Births(Protocol):
    """Makes a child by plan."""

    @property
    def ready_at_once(self) -> bool:
        """Whether a new worker needs no time to load: it will not say `Ready`."""
        ...

    def start(self, plans: Sequence[ChildPlan]) -> list[int]:
        """The new children's process ids: all, or the first few. Raises `OSError` where there is none."""
        ...


class Forker:
    """A child is a copy of this process, which has one thread and has loaded everything."""

    ready_at_once = True

    def __init__(self, catalog: Catalog, bench: Bench) -> None:
        self._catalog = catalog
        self._bench = bench
        bench.install()  # the host itself says nothing through Python's streams
        _rehearse()

    def start(self, plans: Sequence[ChildPlan]) -> list[int]:
        """Fork. Nothing else happens between the forks: each makes all memory copy-on-write again."""
        pids: list[int] = []
        for plan in plans:
            try:
                pid = os.fork()
            except OSError:
                if not pids:
                    raise
                break
            if pid == 0:
                self._be(plan)
            pids.append(pid)
        return pids

    def _be(self, plan: ChildPlan) -> NoReturn:
        try:
            become(plan)
        except BaseException as error:
            os.write(2, f"a forked {plan.kind} could not start: {error!r}\n".encode())
            os._exit(71)
        play(plan, self._catalog, self._bench)


def _rehearse() -> None:
    """Run here what the standard library runs in every child of `os.fork`.

    The interpreter rewrites code for speed when it has run some times. Done here, the children share the result; done
    there, each child would copy the pages for it first (some 50 of its 600 page faults).
    """
    hooks = [("threading", "_after_fork"), ("logging", "_after_at_fork_child_reinit_locks"), ("random", "seed")]
    for name, hook in hooks:
        with contextlib.suppress(Exception):  # the first two are private: they may change
            rehearsed: Callable[[], object] = getattr(sys.modules[name], hook)
            for _ in range(_REHEARSALS):
                rehearsed()


@dataclasses.dataclass(frozen=True)
class SpawnOrder:
    """What a spawned child is told on its command line. `snapshot`: descriptor of the plugin files as JSON."""

    plan: ChildPlan
    snapshot: int
    state_dir: str

    def dumps(self) -> str:
        """As a command line argument."""
        return orjson.dumps(self).decode()

    @classmethod
    def loads(cls, text: str) -> SpawnOrder:
        """And back."""
        told = orjson.loads(text)
        plan = ChildPlan(**told["plan"])
        return cls(dataclasses.replace(plan, keep=tuple(plan.keep)), told["snapshot"], told["state_dir"])


class Spawner:
    """A child is a new Python that loads the same snapshot of the plugins."""

    ready_at_once = False

    def __init__(self, sources: Sources, state_dir: Path) -> None:
        self._state_dir = str(state_dir)
        self._snapshot = os.memfd_create("freshet-plugins", os.MFD_CLOEXEC)
        with open(self._snapshot, "wb", closefd=False) as file:
            file.write(sources.dump())

    def start(self, plans: Sequence[ChildPlan]) -> list[int]:
        """Spawn."""
        return [self._spawn(plan) for plan in plans]

    def _spawn(self, plan: ChildPlan) -> int:
        kept = dataclasses.replace(plan, keep=(*plan.keep, self._snapshot))
        order = SpawnOrder(kept, self._snapshot, self._state_dir)
        inherited = [fd for fd in (plan.sock, plan.out, plan.err, plan.page, *kept.keep) if fd > 2]
        for fd in inherited:
            os.set_inheritable(fd, True)
        try:
            command = [sys.executable, "-P", "-m", "freshet.host.spawned", order.dumps()]
            return os.posix_spawn(sys.executable, command, os.environ)
        finally:
            for fd in inherited:
                os.set_inheritable(fd, False)
