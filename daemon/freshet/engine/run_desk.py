"""The hand on runs: asked for, told of, canceled, tried again. What is begun is done, though who asked may go away."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial

from freshet.engine.again import run_again
from freshet.engine.instruments import Instruments
from freshet.engine.launcher import CANCEL_GRACE, Launcher
from freshet.engine.requests import check_makable, check_reports, find_asset, input_needs, run_of_assets
from freshet.errors import Conflict, UnknownName
from freshet.store.admission import admit
from freshet.store.queries import run as read_run
from freshet.store.records import ReportedMaterialization, RunRow, RunToAdmit
from freshet.store.reports import report as commit_report
from freshet.store.steps import cancel_run

__all__ = ["RunDesk"]


class RunDesk:
    """Of one engine."""

    def __init__(self, instruments: Instruments, launcher: Launcher) -> None:
        self._in = instruments
        self._launcher = launcher

    def of_assets(
        self,
        assets: Sequence[str],
        key: str | None,
        *,
        upstream: bool,
        downstream: bool,
        priority: int,
        tags: dict[str, str],
    ) -> RunToAdmit:
        """One run of a selection, in dependency order. Raises `UnknownName` and `Conflict`."""
        definitions = self._in.in_force.definitions
        for name in assets:
            check_makable(find_asset(definitions, name))
        reached = definitions.select(assets, upstream=upstream, downstream=downstream)
        return run_of_assets(
            definitions,
            [name for name in reached if not definitions.asset[name].external],
            key=key,
            origin="manual",
            now=self._in.clock.now(),
            tags=tags,
            priority=priority,
            instead=_backfill(assets, key, upstream=upstream, downstream=downstream),
        )

    async def admit(self, run: RunToAdmit) -> int:
        """Commit it, as started where it may begin at once; returns its number."""
        return await self._in.work.whole(self._admit(run))

    async def report(self, report: ReportedMaterialization) -> bool:
        """Commit a materialization that happened elsewhere; whether it is news."""
        now = self._in.clock.now()
        (checked,) = check_reports(self._in.in_force.definitions, (report,), now)
        return await self._in.work.whole(self._report(checked, now))

    async def find(self, run_id: int) -> RunRow:
        """The run. Raises `UnknownName`."""
        row = await self._in.store.read(partial(read_run, run_id=run_id))
        if row is None:
            raise UnknownName(f"there is no run {run_id}", hint="see freshet runs")
        return row

    async def cancel(self, run_id: int) -> None:
        """End a run with all its processes. Raises `UnknownName`, and `Conflict` for one that has ended."""
        await self._in.work.whole(self._cancel(run_id))

    async def again(self, run_id: int, *, whole: bool) -> int:
        """A run of what another did not make, or of all of it; returns its number."""
        definitions = self._in.in_force.definitions
        return await self.admit(run_again(definitions, await self.find(run_id), self._in.clock.now(), whole=whole))

    async def _admit(self, run: RunToAdmit) -> int:
        definitions, booking = self._in.in_force.definitions, self._launcher.book([run])
        try:
            admitted, dropped = await self._in.store.write(
                partial(
                    admit,
                    runs=booking.runs,
                    start=booking.start,
                    needs=input_needs(definitions, (step.name for step in run.steps)),
                    now=self._in.clock.now(),
                    version=definitions.version,
                )
            )
        except BaseException:
            self._launcher.forgo(booking)
            raise
        self._in.bus.publish(admitted.events)
        self._launcher.admitted(booking, [run], admitted.runs)
        for one in dropped:
            said = f"run {one.run_id} of {run.target!r} has not ended (overlap={run.policy!r})"
            raise Conflict(said, hint=f"freshet cancel {one.run_id} ends it")
        return admitted.runs[0].run_id

    async def _report(self, report: ReportedMaterialization, now: float) -> bool:
        done = await self._in.store.write(partial(commit_report, reported=report, now=now))
        self._in.bus.publish(done.events)
        return done.counted

    async def _cancel(self, run_id: int) -> None:
        self._in.bus.publish(await self._in.store.write(partial(cancel_run, run_id=run_id, now=self._in.clock.now())))
        self._launcher.cancel(run_id, grace=CANCEL_GRACE)


def _backfill(assets: Sequence[str], key: str | None, *, upstream: bool, downstream: bool) -> str:
    """What makes a selection of several partitions."""
    which = "--all" if key is None else f"--partitions {shlex.quote(key)}"
    more = " --upstream" * upstream + " --downstream" * downstream
    return f"freshet backfill {' '.join(assets)} {which}{more} makes them in order, partition by partition"
