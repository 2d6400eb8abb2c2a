"""A step of ours, run by a worker while it waits.

A forked process copies each page of memory that it writes to, if only to count a reference. What happens between an
order and the user's code touches some hundred of them; a worker that has gone that way once before has its copies.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from freshet.definitions.graph import Definitions
from freshet.definitions.job import Job, JobSpec
from freshet.host.describe import Catalog
from freshet.host.frames import FrameDecoder, decode, encode
from freshet.host.journal import Journal
from freshet.host.messages import Run, WorkerEnded
from freshet.host.parameters import Parameters

__all__ = ["Rehearsal"]

Perform = Callable[..., WorkerEnded]


class Rehearsal:
    """Made in the host; nothing of it can be seen from outside."""

    def __init__(self, perform: Perform, values_dir: Path) -> None:
        job = Job(JobSpec("rehearsal"), _nothing)
        takes = Parameters("rehearsal", _nothing)
        self._catalog = Catalog(Definitions(version=""), jobs={"rehearsal": job}, parameters={"rehearsal": takes})
        self._perform = perform
        self._values_dir = values_dir
        self._frame = encode(
            Run(
                op="run",
                run=0,
                position=0,
                attempt=1,
                step="rehearsal",
                kind="job",
                key=None,
                partition_metadata={},
                params={},
                tags={"rehearsal": "rehearsal"},
                target="rehearsal",
                origin="",
                priority=0,
                inputs={},
                inputs_file=None,
                missing={},
                missing_more={},
                timezone="UTC",
            )
        )

    def play(self) -> None:
        """Once through, without a receipt, a file or an end that is told."""
        journal = _Silent(Path())
        for payload in FrameDecoder().feed(self._frame):
            order: Run = decode(payload)
            journal.begin(order["run"], order["step"], order["attempt"])
            journal.started(os.getpid())
            encode(self._perform(order, self._catalog, journal, values_dir=self._values_dir))
            journal.state("succeeded")
        journal.close()


def _nothing() -> None:
    """What the code of many a step begins with."""
    with Path(os.devnull).open("a") as file:
        file.write("")


class _Silent(Journal):
    def _open(self) -> int:
        return os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
