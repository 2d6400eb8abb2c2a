"""A backfill that has not ended, in memory: its marks, its runs under way, and how fast it goes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pyroaring import BitMap

from freshet.engine.backfill.boxes import OpenBox
from freshet.engine.backfill.marks import Marks, Progress
from freshet.engine.backfill.plan import blocked_below
from freshet.engine.partitions.graph import PartitionGraph
from freshet.store.records import BackfillMark, BackfillRow, BackfillState, EndedStep, Event
from freshet.store.renaming import renamed_request

__all__ = ["Active", "AssetProgress", "BackfillView", "Pace", "ended_view", "marks_of"]

_ENDS = ("materialized", "failed", "released")
_RECENT = 300.0
"""Seconds over which the rate is taken."""


@dataclass(frozen=True, slots=True)
class AssetProgress:
    """Partitions of one asset. `blocked`: they lie below a failure and will not be asked for."""

    asset: str
    wanted: int
    done: int
    failed: int
    in_flight: int
    blocked: int

    @property
    def left(self) -> int:
        """Still to be done, those under way among them."""
        return self.wanted - self.done - self.failed - self.blocked


@dataclass(frozen=True, slots=True)
class BackfillView:
    """A backfill as it stands. `runs`: under way; `eta`: seconds to go by the rate of the last minutes, None while it
    is unknown; `planned_runs`: how many it makes if no dependency parts what can go together, told when begun, as are
    the `notes`: what of the range is not there. `retried_by`: the last backfill that was begun to make up for it, told
    of one that has ended."""

    row: BackfillRow
    assets: tuple[AssetProgress, ...]
    runs: tuple[int, ...] = ()
    eta: float | None = None
    planned_runs: int | None = None
    notes: tuple[str, ...] = ()
    retried_by: int | None = None


@dataclass
class Pace:
    """How many partitions end in a second, over the last minutes."""

    _samples: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def note(self, at: float, ended: int) -> None:
        """So many have ended by now."""
        self._samples.append((at, ended))
        while len(self._samples) > 2 and self._samples[1][0] < at - _RECENT:
            self._samples.popleft()

    def eta(self, at: float, left: int) -> float | None:
        """Seconds until `left` more have ended."""
        if not self._samples:
            return None
        (since, before), (_, ended) = self._samples[0], self._samples[-1]
        if ended <= before or at <= since:
            return None
        return left * (at - since) / (ended - before)


class Active:
    """One that runs or is paused. `runs`: those not accounted for yet; `ended`: which of them have ended. `elsewhere`:
    what it waits for, being in runs of others; `behind`: the facts that tell must have come so far, 0 if they have.
    `boxes`: what has no numbers yet; `boxes_moved`: that is still to be written. `lock`: held by who takes a turn with
    it or changes its state."""

    def __init__(self, row: BackfillRow, progress: Progress, now: float) -> None:
        self.row = row
        self.state: BackfillState = row.state
        self.progress = progress
        self.runs: set[int] = set()
        self.ended: list[int] = []
        self.blocked: dict[str, BitMap] = {}
        self.elsewhere: dict[str, BitMap] = {}
        self.behind = 0
        self.boxes: tuple[OpenBox, ...] = tuple(OpenBox.load(found) for found in row.boxes)
        self.boxes_moved = False
        self.lock = asyncio.Lock()
        self.busy = self.dirty = False
        self.turned_at = 0.0
        self.pace = Pace()
        self.pace.note(now, self._settled)

    def rename(self, names: Mapping[str, str]) -> None:
        """Assets have other names, by the old ones; it is as the store has it."""
        self.row = replace(self.row, request=renamed_request(self.row.request, names))
        self.progress.rename(names)
        self.blocked = {names.get(name, name): numbers for name, numbers in self.blocked.items()}
        self.elsewhere = {names.get(name, name): numbers for name, numbers in self.elsewhere.items()}
        self.boxes = tuple([one.renamed(names) for one in self.boxes])

    @property
    def marks(self) -> dict[str, Marks]:
        """By asset, in dependency order."""
        return self.progress.marks

    @property
    def single_run(self) -> bool:
        """All of it is one run."""
        return bool(self.row.request.get("single_run"))

    @property
    def failing(self) -> bool:
        """Something of it has failed."""
        return any(marks.failed for marks in self.marks.values())

    @property
    def lazy(self) -> tuple[str, ...]:
        """The assets of which it takes what others make since it began for done: the named ones, of what is missing."""
        asked: dict[str, Any] = self.row.request
        return tuple(name for name in asked["assets"] if name in self.marks) if asked.get("select") == "missing" else ()

    @property
    def since(self) -> int:
        """The last event before it began."""
        return int(self.row.request.get("since", 0))

    def heard(self, event: Event) -> bool:
        """A partition came on in a run of somebody else, or was reported. Returns whether that lets it go on."""
        asset, number = event.asset or "", event.partition or 0
        marks = self.marks.get(asset)
        if marks is None or event.seq <= self.since or number not in marks.wanted or number in marks.asked:
            return False
        if asset in self.lazy and (event.type == "materialized" or (event.type == "failed" and event.idle)):
            self.settle(asset, "done" if event.type == "materialized" else "failed", [number])
            return True
        return event.type in _ENDS and event.idle and number in self.elsewhere.get(asset, ())

    def settle(self, asset: str, how: BackfillMark, numbers: Iterable[int]) -> None:
        """What was not asked for, and is not to be any more, counts as done or failed."""
        marks = self.marks[asset]
        found = (BitMap(numbers) & marks.wanted) - marks.asked
        self.progress.set(asset, "asked", found)
        self.progress.set(asset, how, found)

    def meet(self, in_flight: Callable[[str], BitMap]) -> None:
        """Find out anew what of the rest is in runs of others."""
        found = {
            name: (in_flight(name) & marks.wanted) - marks.asked - self.blocked.get(name, BitMap())
            for name, marks in self.marks.items()
        }
        self.elsewhere = {name: numbers for name, numbers in found.items() if numbers}

    def account(self, graph: PartitionGraph, steps: Iterable[EndedStep], now: float) -> None:
        """Take in how the steps of ended runs ended. Done twice, it changes nothing.

        What was skipped below a failure is not asked for any more: it counts as blocked. A step that was skipped or
        canceled otherwise counts as failed.
        """
        by_mark: dict[tuple[str, BackfillMark], list[int]] = {}
        skipped: dict[str, BitMap] = {}
        for step in steps:
            marks = self.marks.get(step.asset)
            if marks is None or step.partition not in marks.wanted or step.partition in marks.done:
                continue
            if step.state == "succeeded":
                by_mark.setdefault((step.asset, "done"), []).append(step.partition)
            elif step.state == "skipped":
                skipped.setdefault(step.asset, BitMap()).add(step.partition)
            elif step.state in ("failed", "canceled"):
                by_mark.setdefault((step.asset, "failed"), []).append(step.partition)
        for (asset, what), found in by_mark.items():
            self.progress.set(asset, what, found)
        for asset, numbers in skipped.items():
            self.progress.clear(asset, "asked", numbers)
        self.look(graph)
        for asset, numbers in skipped.items():
            stray = numbers - self.blocked.get(asset, BitMap())
            if stray:
                self.progress.set(asset, "asked", stray)
                self.progress.set(asset, "failed", stray)
                self.look(graph)
        self.pace.note(now, self._settled)

    def look(self, graph: PartitionGraph) -> None:
        """Find out anew what failures block."""
        self.blocked = blocked_below(graph, self.marks) if self.failing else {}

    def rest(self) -> dict[str, BitMap]:
        """What is still to be asked for."""
        found = {
            name: marks.wanted - marks.asked - self.blocked.get(name, BitMap()) for name, marks in self.marks.items()
        }
        return {name: numbers for name, numbers in found.items() if numbers}

    def forget_lost(self, held: Iterable[EndedStep]) -> None:
        """What was asked for and is in no run that goes on, nor ended in one, is to be asked for again."""
        in_runs: dict[str, BitMap] = {}
        for step in held:
            in_runs.setdefault(step.asset, BitMap()).add(step.partition)
        for asset, marks in self.marks.items():
            lost = marks.asked - marks.done - marks.failed - in_runs.get(asset, BitMap())
            if lost:
                self.progress.clear(asset, "asked", lost)

    def outcome(self) -> tuple[BackfillState, str | None]:
        """How it ends, when nothing of it is left."""
        failed = sum(len(marks.failed) for marks in self.marks.values())
        unmade = sum(len(marks.to_come) for marks in self.marks.values())
        if not failed and not unmade:
            return "succeeded", None
        return "failed", f"{failed} failed" + (f", {unmade} blocked below them" if unmade else "")

    def view(self, now: float) -> BackfillView:
        """As it stands."""
        totals = _totals(self.boxes)
        assets = tuple(
            AssetProgress(
                name,
                max(len(marks.wanted), totals.get(name, 0)),
                len(marks.done),
                len(marks.failed),
                marks.in_flight,
                len(self.blocked.get(name, ())),
            )
            for name, marks in self.marks.items()
        )
        left = sum(one.left for one in assets)
        eta = self.pace.eta(now, left) if self.state == "running" and left else None
        return BackfillView(replace(self.row, state=self.state), assets, tuple(sorted(self.runs)), eta)

    @property
    def _settled(self) -> int:
        return sum(len(marks.done) + len(marks.failed) for marks in self.marks.values())


def marks_of(row: BackfillRow, bits: Mapping[str, Mapping[BackfillMark, BitMap]]) -> dict[str, Marks]:
    """As remembered, in the order in which the assets were when it began."""

    def marks(found: Mapping[BackfillMark, BitMap]) -> Marks:
        return Marks(*(found.get(what, BitMap()) for what in ("wanted", "asked", "done", "failed")))

    order: dict[str, Any] = row.request["sets"]
    return {name: marks(bits.get(name, {})) for name in order}


def ended_view(row: BackfillRow, marks: Mapping[str, Marks]) -> BackfillView:
    """One that has ended: what is neither made nor failed was blocked, unless it was canceled."""
    blocked, totals = row.state == "failed", _totals(map(OpenBox.load, row.boxes))
    assets = tuple(
        AssetProgress(
            name,
            max(len(one.wanted), totals.get(name, 0)),
            len(one.done),
            len(one.failed),
            0,
            len(one.to_come) if blocked else 0,
        )
        for name, one in marks.items()
    )
    return BackfillView(row, assets)


def _totals(boxes: Iterable[OpenBox]) -> dict[str, int]:
    return {name: total for box in boxes for name, total in box.totals.items()}
