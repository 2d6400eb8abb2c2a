"""The daemon at a glance."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial

from fastapi import APIRouter

from freshet.engine.freshness import by_partition
from freshet.engine.looplag import LoopHolds
from freshet.http.api.context import Api
from freshet.http.api.convert import freshness_state, problem_answer
from freshet.http.models import HostAnswer, LoopAnswer, ProblemAnswer, StatusAnswer
from freshet.store.chains import stopped_since
from freshet.store.freshness import asset_freshness
from freshet.store.partition_freshness import not_fresh
from freshet.store.queries import failures

__all__ = ["router"]

_HOUR = 3600.0
_DAY = 24 * _HOUR

router = APIRouter(tags=["status"])


@router.get("/status")
async def status(api: Api) -> StatusAnswer:
    """What runs, what waits, what is wrong."""
    now, definitions, sensors = api.control.status(), api.control.definitions, api.control.sensors()
    schedules = api.control.schedules()
    standing = {row.asset: row for row in await api.control.store.read(asset_freshness)}
    each, by_itself = by_partition(definitions), await api.control.store.read(not_fresh)
    lapsed = (
        spec.name
        for spec in definitions.assets
        if spec.name in standing
        and (
            "lapsed" in by_itself.get(spec.name, ())
            if spec.name in each
            else freshness_state(spec.freshness, standing[spec.name], now.now) == "lapsed"
        )
    )
    failed = await api.control.store.read(partial(failures, since=now.now - _HOUR))
    report, hooks = api.control.load_report, await api.control.hooks()
    full = next((one.full for one in hooks if one.full is not None), None)
    return StatusAnswer(
        state=now.state,
        pid=os.getpid(),
        version=now.version,
        definitions_version=now.definitions_version,
        started_at=now.started_at,
        now=now.now,
        queued=now.queued,
        running=now.running,
        workers=now.workers,
        refused_ticks=now.refused_ticks,
        problem=now.problem,
        needs_restart=now.needs_restart,
        host=None if now.host is None else HostAnswer(**asdict(now.host)),
        loops=now.loops,
        loop=_loop(now.loop_holds),
        assets=len(definitions.assets),
        jobs=len(definitions.jobs),
        sensors=len(definitions.sensors),
        schedules=len(definitions.schedules),
        paused=tuple(one.name for one in sensors if one.status == "paused"),
        troubled=tuple(one.name for one in sensors if one.status in ("failing", "quarantined")),
        paused_schedules=tuple(one.name for one in schedules if one.status == "paused"),
        troubled_schedules=tuple(one.name for one in schedules if one.status == "failing"),
        lapsed=tuple(sorted(lapsed)),
        failed={name: count for name, count in failed.partitions.items() if name in definitions.asset},
        stopped=await api.control.store.read(partial(stopped_since, since=now.now - _DAY)),
        failed_runs=failed.runs,
        load_problems=tuple(map(problem_answer, report.problems)),
        load_warnings=(
            *map(problem_answer, report.warnings),
            *(
                ProblemAnswer(message=f"the hook of {one.sensor} refuses what it cannot verify: {one.problem}")
                for one in hooks
                if one.problem is not None
            ),
            *([] if full is None else [ProblemAnswer(message=full, hint="see freshet inbox")]),
        ),
    )


def _loop(holds: LoopHolds) -> LoopAnswer:
    last = holds.last
    return LoopAnswer(
        held=holds.times,
        seconds=round(holds.seconds, 3),
        worst=round(holds.worst, 3),
        last_at=holds.last_at,
        last=None if last is None else round(last.seconds, 3),
        stack=() if last is None else last.stack,
    )
