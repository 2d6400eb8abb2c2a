"""The plugins, each file by itself; loaded anew."""

from __future__ import annotations

from fastapi import APIRouter

from freshet.http.api.context import Api
from freshet.http.api.convert import problem_answer
from freshet.http.models import PluginAnswer, ReloadAnswer

__all__ = ["router"]

router = APIRouter(tags=["plugins"])


@router.get("/plugins")
async def plugins(api: Api) -> tuple[PluginAnswer, ...]:
    """Each plugin file by itself: loaded, unchanged, failed, quarantined, or held back by another's fault."""
    return tuple(
        PluginAnswer(
            file=one.file,
            state=one.state,
            since=one.since,
            problem=None if one.problem is None else problem_answer(one.problem),
        )
        for one in api.control.plugins()
    )


@router.post("/reload")
async def reload(api: Api) -> ReloadAnswer:
    """Read the settings again and load the plugins as they are now; what is well with all of it is put in force, else
    what was before stays."""
    done = await api.control.reload()
    return ReloadAnswer(
        outcome=done.outcome,
        version=done.version,
        problems=tuple(map(problem_answer, done.problems)),
        seconds=done.seconds,
        settings_changed=done.settings.changed,
        settings_waiting=done.settings.waiting,
        settings_problem=None if done.settings.problem is None else problem_answer(done.settings.problem),
    )
