"""A schedule as the engine holds it, and what it asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from freshet.definitions.schedule import ScheduleSpec
from freshet.engine.control import ScheduleView
from freshet.engine.schedules.plan import Plan, ScheduleState
from freshet.executors.base import TickEnd
from freshet.store.records import RunToAdmit, TickError, TickerRow
from freshet.store.records.runs import RunGroup
from freshet.store.records.schedules import ScheduleCommit, SkippedInstants

__all__ = [
    "PIECE",
    "Alike",
    "Asked",
    "ScheduleTicker",
    "commit_of",
    "in_line",
    "pieces",
    "refused_answer",
    "tell_skipped",
    "with_runs",
]

PIECE = 200
"""Schedules a transaction, and instants that fire together: what the writer is held for stays under 20 ms."""

_log = structlog.get_logger("freshet.schedules")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body is being asked about, under a tick's id, and the ticker's revision with which that began."""

    plan: Plan
    tick_id: int
    revision: int


@dataclass(slots=True)
class ScheduleTicker:
    """`state`: what is decided so far, as of the last commit. `busy`: a decision is on its way; `asked`: what the body
    is asked about; `due`: the instant it waits for. `since`: it has been looked after since then, so that of what was
    due before, the misfire policy decides. `manner`: a number for what of its definition decides when it fires."""

    spec: ScheduleSpec
    row: TickerRow
    state: ScheduleState | None
    manner: int
    busy: bool = False
    asked: Asked | None = None
    since: float = float("inf")
    due: float | None = None

    def view(self, now: float) -> ScheduleView:
        """For display."""
        following = self.spec.times.after(self.state.decided if self.state else now)
        failing = bool(self.row.failures) and not self.row.paused
        held = following if failing and following is not None and following <= now else None
        if held is not None:
            following = self.spec.times.after(now)
        return ScheduleView(
            name=self.spec.name,
            status="paused" if self.row.paused else "failing" if self.row.failures else "ok",
            next=None if self.row.paused else following,
            failures=self.row.failures,
            last_error=self.row.last_error,
            held_at=held,
            retry_at=None if held is None else self.row.retry_at,
        )

    def likeness(self) -> object:
        """What its next plan follows from: those alike get the same."""
        return self.manner, id(self.state), self.since


class Alike:
    """Makes tickers of which those that are alike can be told by identity."""

    def __init__(self) -> None:
        self._manners: dict[object, int] = {}
        self._states: dict[ScheduleState, ScheduleState] = {}

    def ticker(self, spec: ScheduleSpec, row: TickerRow) -> ScheduleTicker:
        """A schedule with what its ticker's cursor holds."""
        state = None if row.cursor is None else self.state(ScheduleState(**row.cursor))
        return ScheduleTicker(spec, row, state, self.manner(spec))

    def manner(self, spec: ScheduleSpec) -> int:
        """The number of what decides when a schedule fires."""
        manner = spec.times, spec.delay, spec.misfire, spec.max_late, spec.max_catch_up
        return self._manners.setdefault(manner, len(self._manners))

    def state(self, state: ScheduleState) -> ScheduleState:
        """The one state that is equal to this."""
        return self._states.setdefault(state, state)


def commit_of(
    ticker: ScheduleTicker, made: Plan, runs: tuple[tuple[RunToAdmit, ...], ...], *, tick_id: int, revision: int
) -> ScheduleCommit:
    """A plan, as the store takes it. `runs`: of each instant that fires."""
    return ScheduleCommit(
        ticker=ticker.row.id,
        tick_id=tick_id,
        revision=revision,
        version=made.state.version,
        cursor=made.state,
        fired=made.fire,
        skipped=tuple(SkippedInstants(one.first, one.last, one.count, one.reason) for one in made.skipped)
        if made.skipped
        else (),
        runs=runs,
        overlap=ticker.spec.overlap,
    )


def in_line(
    runs: tuple[tuple[RunToAdmit, ...], ...], taken: Callable[[RunGroup], bool]
) -> tuple[tuple[RunToAdmit, ...], ...]:
    """The same runs, for `overlap="queue"`: one after the other, and after those of a group that is `taken`."""
    before: set[RunGroup] = set()
    found: list[tuple[RunToAdmit, ...]] = []
    for asked in runs:
        here: list[RunToAdmit] = []
        for run in asked:
            here.append(replace(run, in_order=True, held=run.held or run.group in before or taken(run.group)))
            before.add(run.group)
        found.append(tuple(here))
    return tuple(found)


def with_runs(commits: Sequence[ScheduleCommit], runs: Sequence[RunToAdmit]) -> Sequence[ScheduleCommit]:
    """The same commits, with their runs exchanged for these, which come in the same order."""
    left = iter(runs)
    return [
        replace(one, runs=tuple(tuple(next(left) for _ in asked) for asked in one.runs)) if one.runs else one
        for one in commits
    ]


_MAY = "a schedule yields RunRequest or Skip"


def refused_answer(end: TickEnd) -> TickError | None:
    """Why what a body answered is not taken: to the evaluator that asks it, it is a sensor, which may yield more."""
    if end.error is not None:
        said, _, expected = end.error.message.partition("; yield RunRequest")
        wrong = said.replace(f"sensor {end.sensor!r} yielded", f"schedule {end.sensor!r} yielded", 1)
        return replace(end.error, message=f"{wrong}; {_MAY}" if expected else wrong)
    for given, what in ((end.partitions, "partitions"), (end.reports, "a Report"), (end.deliveries, "a Handled")):
        if given:
            return TickError("WrongResult", f"schedule {end.sensor!r} yielded {what}; {_MAY}")
    return None if end.status == "ok" else TickError("Refused", f"the body of a schedule cannot {end.status}")


def tell_skipped(spec: ScheduleSpec, made: Plan, overlapped: Sequence[float]) -> None:
    """Say which instants did not fire, and why."""
    told = [(one.first, one.last, one.count, str(one.reason)) for one in made.skipped]
    if overlapped:
        told.append((overlapped[0], overlapped[-1], len(overlapped), "overlap"))
    for first, last, count, reason in told:
        _log.warning(
            "schedule skipped", schedule=spec.name, first=_iso(first), last=_iso(last), count=count, reason=reason
        )


def _iso(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat()


def pieces(decided: Sequence[tuple[ScheduleTicker, Plan]]) -> Iterator[list[tuple[ScheduleTicker, Plan]]]:
    """What is decided together, by what one transaction takes of it."""
    piece, fired = list[tuple[ScheduleTicker, Plan]](), 0
    for one in decided:
        if piece and fired + len(one[1].fire) > PIECE:
            yield piece
            piece, fired = [], 0
        piece.append(one)
        fired += len(one[1].fire)
    if piece:
        yield piece
