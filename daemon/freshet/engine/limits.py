"""What of the definitions does not fit the limits of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from freshet.definitions.asset import AssetSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.job import JobSpec
from freshet.definitions.limits import Limits
from freshet.definitions.names import nearest_hint
from freshet.engine.instruments import Instruments
from freshet.engine.launcher import Launcher
from freshet.executors.base import LoadProblem, LoadReport
from freshet.store.pools import paused_pools
from freshet.store.steps import started_since

__all__ = ["resume_limits", "within_limits"]


def within_limits(report: LoadReport, limits: Limits) -> LoadReport:
    """The report, and as problems the steps of pools that there are not, or that have fewer slots than one takes."""
    return replace(report, problems=(*report.problems, *_misfits(report.definitions, limits)))


def _misfits(definitions: Definitions, limits: Limits) -> Iterator[LoadProblem]:
    steps: tuple[AssetSpec | JobSpec, ...] = (*definitions.assets, *definitions.jobs)
    for one in steps:
        if one.pool is None:
            continue
        what = "asset" if isinstance(one, AssetSpec) else "job"
        file, line = (one.source.file, one.source.line) if one.source else (None, None)
        pool = limits.pools.get(one.pool)
        if pool is None:
            near = nearest_hint(one.pool, limits.pools) if limits.pools else ""
            hint = f"{near}; or" if near else "write how many slots it has into the settings:"
            said = f"{what} {one.name!r}: there is no pool {one.pool!r}"
            yield LoadProblem(said, hint=f"{hint} [pools] {one.pool} = 4", file=file, line=line)
        elif 0 < pool.slots < one.slots:
            said = f"{what} {one.name!r} takes {one.slots} slots of the pool {one.pool!r}, which has {pool.slots}"
            hint = f"[pools] {one.pool} = {one.slots} in the settings, or fewer slots here"
            yield LoadProblem(said, hint=hint, file=file, line=line)


async def resume_limits(instruments: Instruments, launcher: Launcher, limits: Limits) -> None:
    """Pools that were paused are; and rates count what started before this daemon. Before what was cut off is queued
    again."""
    for name in await instruments.store.read(paused_pools):
        if name in limits.pools:
            launcher.queue.pause(name, paused=True)
    rates = {name: one.rate for name, one in limits.pools.items() if one.rate}
    pool_of = {name: use.pool.pool for name, use in instruments.in_force.definitions.uses.items() if use.pool}
    names = [name for name, pool in pool_of.items() if pool in rates]
    if names:
        now, monotonic = instruments.clock.now(), instruments.clock.monotonic()
        since = now - max(rate.seconds for rate in rates.values())
        for name, at in await instruments.store.read(partial(started_since, names=names, at=since)):
            launcher.queue.started_before(pool_of[name], monotonic - max(0.0, now - at))
