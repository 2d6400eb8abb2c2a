"""Which workers a step goes to, by the executor that its definition names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from freshet.definitions.asset import AssetSpec
from freshet.definitions.executor import Inline, Process
from freshet.definitions.job import JobSpec
from freshet.host.children import Children
from freshet.host.describe import Catalog
from freshet.host.inline.lane import InlineLane
from freshet.host.kept import Kept
from freshet.host.loop import Loop
from freshet.host.messages import Called, CancelItem, Run
from freshet.host.workers import Workers

__all__ = ["Lane", "Lanes"]


class Lane(Protocol):
    """Takes launches; each ends in exactly one frame to the daemon that says so."""

    def open(self, workers: int) -> None:
        """So many at once."""
        ...

    def run(self, order: Run, payload: bytes) -> None:
        """Launch a step; `payload` is the order as it came."""
        ...

    def cancel(self, run: int, position: int, grace: float) -> None:
        """End a step before its time; nothing happens if it is not here."""
        ...

    def pass_on(self, said: CancelItem | Called, payload: bytes) -> None:
        """Hand a message to whom works on a step; nothing happens if nobody does. `payload`: as it came."""
        ...

    def close(self, grace: float) -> None:
        """End all."""
        ...


class Lanes:
    """A lane itself: hands each order to the one it is for."""

    def __init__(
        self,
        loop: Loop,
        children: Children,
        catalog: Catalog,
        state_dir: Path,
        tell: Callable[[bytes], None],
        *,
        ready: bool,
    ) -> None:
        self._workers = Workers(loop, children, catalog, state_dir / "runs", tell, ready=ready)
        self._kept = Kept(loop, children, self._workers.launch, tell, ready=ready)
        self._inline = InlineLane(loop, children, catalog, self._workers.launch, tell)
        self._all: tuple[Lane, ...] = (self._workers, self._kept, self._inline)
        self._by_name: dict[str, Lane] = {}
        specs: tuple[AssetSpec | JobSpec, ...] = (*catalog.definitions.assets, *catalog.definitions.jobs)
        for spec in specs:
            if isinstance(spec.executor, Process) and spec.executor.reuse:
                self._by_name[spec.name] = self._kept
            elif isinstance(spec.executor, Inline):
                self._by_name[spec.name] = self._inline

    def open(self, workers: int) -> None:
        """So many at once, in each lane."""
        for lane in self._all:
            lane.open(workers)

    def run(self, order: Run, payload: bytes) -> None:
        """Launch a step."""
        self._by_name.get(order["step"], self._workers).run(order, payload)

    def cancel(self, run: int, position: int, grace: float) -> None:
        """End a step before its time."""
        for lane in self._all:
            lane.cancel(run, position, grace)

    def pass_on(self, said: CancelItem | Called, payload: bytes) -> None:
        """Hand a message to whom works on a step."""
        for lane in self._all:
            lane.pass_on(said, payload)

    def close(self, grace: float) -> None:
        """End all."""
        for lane in self._all:
            lane.close(grace)
