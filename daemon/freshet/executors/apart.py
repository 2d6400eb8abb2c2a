"""Executors that are not the code host's: where steps run apart from it, as the engine sees them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from freshet.definitions.executor import Lane
from freshet.definitions.graph import Definitions
from freshet.executors.base import Answers, ItemRef
from freshet.host.sources import Sources
from freshet.store.records import StepToRun

__all__ = ["MakeExecutors", "StepExecutor"]


class StepExecutor(Protocol):
    """Every `run` ends in exactly one `Answers.step_ended`, unless the step lasts longer than the daemon.

    `lasting`: what runs goes on when the daemon ends, and is `found` by the next.
    """

    lasting: bool

    def prepare(self, definitions: Definitions, sources: Sources | None = None) -> None:
        """These are in force, loaded from these files; what runs goes on as it began. Without `sources`, the files are
        read."""
        ...

    def found(self) -> tuple[StepToRun, ...]:
        """Steps that an earlier daemon launched and whose end it has not seen; without inputs."""
        ...

    def adopt(self, steps: Collection[tuple[int, int]]) -> None:
        """Of those found, these (run, position) are waited for again, and end as if launched now. The others are
        ended, and nothing is said of them."""
        ...

    def run(self, step: StepToRun) -> None:
        """Launch a step that is durable as started."""
        ...

    def cancel(self, run_id: int, position: int, *, grace: float) -> None:
        """End a step; nothing happens if it is not here."""
        ...

    def cancel_item(self, run_id: int, item: ItemRef) -> None:
        """End one item of a `ctx.map` of a step; nothing happens if either is over."""
        ...

    async def close(self) -> None:
        """The daemon ends: steps that do not last are interrupted, and nothing is said of the others."""
        ...


MakeExecutors = Callable[[Answers], Mapping[Lane, StepExecutor]]
