"""What steps leave behind in a kept worker: what of it is put back, and when the worker has done enough."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

from freshet.definitions.executor import Process
from freshet.definitions.graph import Definitions
from freshet.host.process import restore_signals

__all__ = ["Surroundings", "Wear"]

_STATM = "/proc/self/statm"
_INLINE = Process(steps=1_000_000_000)
"""Of the process for inline steps, which does not mind how many they are."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LIMITS = tuple(number for name, number in vars(resource).items() if name.startswith("RLIMIT_"))


class Wear:
    """Counts one worker's steps. Memory is measured against what it was after the first of them: what all need is
    loaded then."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._steps = 0
        self._first = 0
        self.out = False

    def worn_by(self, name: str) -> bool:
        """Note a step of this asset or job; whether it was the last."""
        spec = self._definitions.asset.get(name) or self._definitions.job.get(name)
        limits = spec.executor if spec is not None and isinstance(spec.executor, Process) else _INLINE
        self._steps += 1
        memory = _memory()
        self._first = self._first or memory
        self.out = self._steps >= limits.steps or memory - self._first > limits.growth << 20
        return self.out


def _memory() -> int:
    """Bytes. As few calls of the system as can be: beside other threads, each is a wait for the interpreter's lock."""
    descriptor = os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, 256).split()[1]) * _PAGE
    finally:
        os.close(descriptor)


class Surroundings:
    """The working directory, the environment, limits, the mask of files, and what is to become of signals, as they are
    now."""

    def __init__(self) -> None:
        self._folder = Path.cwd()
        self._environment = dict(os.environ)
        self._mask = os.umask(0o22)
        os.umask(self._mask)
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._limits = [(number, resource.getrlimit(number)) for number in _LIMITS]

    def restore(self) -> None:
        """As they were. Raises `OSError` or `ValueError` for what cannot be put back: a folder that is gone, a limit
        that was lowered for good."""
        restore_signals()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)
        os.umask(self._mask)
        for number, limit in self._limits:
            if resource.getrlimit(number) != limit:
                resource.setrlimit(number, limit)
        if Path.cwd() != self._folder:
            os.chdir(self._folder)
        if os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
