"""Runs of schedules and sensors that overlap: which are admitted, which give way, and which are canceled."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from freshet.store.codec import dump
from freshet.store.records.runs import RunGroup, RunToAdmit
from freshet.store.records.schedules import ActiveRun, ScheduleCommit, SkippedInstants

__all__ = ["Settled", "SettledRuns", "active_runs", "overlapping_runs", "settle_overlaps", "settle_runs"]

_ACTIVE = """
SELECT r.id, r.state, r.origin, r.target, ps.name, p.key FROM json_each(?) wanted
CROSS JOIN runs r INDEXED BY runs_of_schedules ON r.origin = wanted.value
LEFT JOIN partition_sets ps ON ps.id = r.set_id
LEFT JOIN partitions p ON p.set_id = r.set_id AND p.number = r.partition
WHERE r.state IN ('queued', 'started', 'canceling', 'interrupted') AND r.origin LIKE 'schedule:%' ORDER BY r.id
"""
_OVERLAPPING = """
SELECT r.id, r.state, r.origin, r.target, ps.name, p.key FROM json_each(?) wanted
CROSS JOIN runs r INDEXED BY runs_overlapping ON r.origin = wanted.value
LEFT JOIN partition_sets ps ON ps.id = r.set_id
LEFT JOIN partitions p ON p.set_id = r.set_id AND p.number = r.partition
WHERE r.state IN ('queued', 'started', 'canceling', 'interrupted') AND r.overlap <> 'allow' ORDER BY r.id
"""


@dataclass(frozen=True, slots=True)
class SettledRuns:
    """Of runs that were asked for, the positions of those to admit; those that give way, each with the run that goes
    on instead (0: another of these); and the runs of before that are to be canceled."""

    kept: tuple[int, ...]
    lost: tuple[tuple[int, int], ...] = ()
    cancel: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """What is left of commits, by ticker the instants that overlapped, and the runs that are to be canceled."""

    commits: tuple[ScheduleCommit, ...]
    overlapped: dict[int, tuple[float, ...]]
    cancel: tuple[int, ...]


def active_runs(db: sqlite3.Connection, schedules: Iterable[str]) -> tuple[ActiveRun, ...]:
    """The runs of these schedules that are queued or under way, oldest first."""
    origins = dump([f"schedule:{name}" for name in schedules])
    return tuple(ActiveRun(*row) for row in db.execute(_ACTIVE, (origins,)))


def settle_overlaps(db: sqlite3.Connection, commits: Sequence[ScheduleCommit]) -> Settled:
    """Apply `overlap` to each commit, as things stand in this transaction."""
    asking = {run.origin for one in commits if one.overlap in ("skip", "latest", "cancel") for run in _runs(one)}
    active: dict[RunGroup, list[ActiveRun]] = {}
    if asking:
        for run in active_runs(db, sorted(origin.removeprefix("schedule:") for origin in asking)):
            active.setdefault(run.group, []).append(run)
    left: list[ScheduleCommit] = []
    overlapped: dict[int, tuple[float, ...]] = {}
    cancel: list[int] = []
    for commit in commits:
        if commit.overlap not in ("skip", "latest", "cancel") or _is_alone(commit, active):
            left.append(commit)
            continue
        kept, overtaken = _settle(commit, active)
        cut, lost = _cut(commit, kept)
        left.append(cut)
        cancel += overtaken
        if lost:
            overlapped[commit.ticker] = lost
    return Settled(tuple(left), overlapped, tuple(cancel))


def _is_alone(commit: ScheduleCommit, active: dict[RunGroup, list[ActiveRun]]) -> bool:
    """Whether it asks for one run at the most, and none of its group goes on: nearly always."""
    match commit.runs:
        case () | ((),):
            return True
        case ((run,),):
            return run.group not in active
        case _:
            return False


def _settle(
    commit: ScheduleCommit, active: dict[RunGroup, list[ActiveRun]]
) -> tuple[tuple[tuple[RunToAdmit, ...], ...], Sequence[int]]:
    """The runs of each instant that are kept, and those of before that are to be canceled."""
    if commit.overlap == "skip":
        return _first_of_each(commit.runs, {run.group for run in _runs(commit) if run.group in active}), ()
    kept = tuple(reversed(_first_of_each(tuple(reversed(commit.runs)), set(), last=True)))
    asked = {run.group for runs in kept for run in runs}
    waiting = ("queued", "interrupted")
    overtaken = [run for group in asked for run in active.get(group, ()) if run.state != "canceling"]
    return kept, sorted(run.run_id for run in overtaken if commit.overlap == "cancel" or run.state in waiting)


def _first_of_each(
    instants: Sequence[tuple[RunToAdmit, ...]], taken: set[RunGroup], *, last: bool = False
) -> tuple[tuple[RunToAdmit, ...], ...]:
    """The first run of each group that is not taken; of one instant, the first or the last."""
    kept: list[tuple[RunToAdmit, ...]] = []
    for runs in instants:
        here: list[RunToAdmit] = []
        for run in reversed(runs) if last else runs:
            if run.group not in taken:
                taken.add(run.group)
                here.append(run)
        kept.append(tuple(reversed(here) if last else here))
    return tuple(kept)


def _cut(commit: ScheduleCommit, kept: tuple[tuple[RunToAdmit, ...], ...]) -> tuple[ScheduleCommit, tuple[float, ...]]:
    """What is left, and the instants that lost all that they asked for: those are skipped ones."""
    lost = [bool(asked) and not left for asked, left in zip(commit.runs, kept, strict=True)]
    overlapped = tuple(at for at, gone in zip(commit.fired, lost, strict=True) if gone)
    left = replace(
        commit,
        fired=tuple(at for at, gone in zip(commit.fired, lost, strict=True) if not gone),
        skipped=(*commit.skipped, *(SkippedInstants(at, at, 1, "overlap") for at in overlapped)),
        runs=tuple(runs for runs, gone in zip(kept, lost, strict=True) if not gone),
    )
    return left, overlapped


def _runs(commit: ScheduleCommit) -> Iterable[RunToAdmit]:
    return (run for runs in commit.runs for run in runs)


def overlapping_runs(db: sqlite3.Connection, origins: Iterable[str]) -> tuple[ActiveRun, ...]:
    """The runs of sensors that may not overlap, as long as they are queued or under way, oldest first."""
    return tuple(ActiveRun(*row) for row in db.execute(_OVERLAPPING, (dump(list(origins)),)))


def settle_runs(db: sqlite3.Connection, runs: Sequence[RunToAdmit]) -> SettledRuns:
    """Apply the `overlap` of each run, as things stand in this transaction: the runs are asked for in this order."""
    asking = sorted({run.origin for run in runs if run.overlap in ("skip", "latest", "cancel")})
    if not asking:
        return SettledRuns(tuple(range(len(runs))))
    active: dict[RunGroup, list[ActiveRun]] = {}
    for one in overlapping_runs(db, asking):
        active.setdefault(one.group, []).append(one)
    last = {run.group: at for at, run in enumerate(runs)}
    first: dict[RunGroup, int] = {}
    kept: list[int] = []
    lost: list[tuple[int, int]] = []
    for at, run in enumerate(runs):
        if run.overlap == "skip":
            before = active.get(run.group)
            taken = run.group in first or before is not None
            first.setdefault(run.group, at)
        else:
            before, taken = None, run.overlap in ("latest", "cancel") and last[run.group] != at
        if taken:
            lost.append((at, before[-1].run_id if before else 0))
        else:
            kept.append(at)
    waiting = ("queued", "interrupted")
    cancel = sorted(
        one.run_id
        for at in kept
        if runs[at].overlap in ("latest", "cancel")
        for one in active.get(runs[at].group, ())
        if one.state != "canceling" and (runs[at].overlap == "cancel" or one.state in waiting)
    )
    return SettledRuns(tuple(kept), tuple(lost), tuple(cancel))
