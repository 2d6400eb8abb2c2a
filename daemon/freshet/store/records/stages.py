"""Outcomes in pieces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from freshet.store.records.pending import RequestToKeep
from freshet.store.records.runs import RunToAdmit
from freshet.store.records.ticks import (
    LedgerDelta,
    PartitionDelta,
    ReportedMaterialization,
    RunKey,
    TickCommit,
    TickResult,
)

__all__ = ["Carried", "StagePiece", "StageRow", "Strand"]


class Strand(NamedTuple):
    """Some combinations that a partition is a part of: those of the set `several`, where it stands at `position`, with
    numbers from `first` to `last`."""

    set_id: int
    part: int
    several: int
    position: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class StagePiece:
    """What one transaction carries out. `strands`: combinations that come or go with a part that did so before.
    `ends_ledger`: the outcome changes the ledger, and no later piece does."""

    partitions: tuple[PartitionDelta, ...] = ()
    ledger: LedgerDelta = field(default_factory=LedgerDelta)
    ends_ledger: bool = False
    reports: tuple[ReportedMaterialization, ...] = ()
    runs: tuple[RunToAdmit, ...] = ()
    pending: tuple[RequestToKeep, ...] = ()
    release: tuple[RunKey, ...] = ()
    strands: tuple[Strand, ...] = ()


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage that is not at its end. `decided`: its pieces hold and are to be carried out."""

    id: int
    decided: bool


class Carried(NamedTuple):
    """What was carried out: as a commit of its own, what that did (`ledger_revision`: 0 before the ledger's last
    piece), how many keys it deleted, of how many pieces it is, and whether it was the last."""

    commit: TickCommit
    result: TickResult
    deleted: int
    pieces: int
    last: bool
