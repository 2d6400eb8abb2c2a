"""Pools: how full they are, and pausing them."""

from __future__ import annotations

from fastapi import APIRouter

from freshet.engine.queue import PoolView
from freshet.http.api.context import Api
from freshet.http.models import PoolAnswer, RateAnswer

__all__ = ["router"]

router = APIRouter(prefix="/pools", tags=["pools"])


@router.get("")
async def list_pools(api: Api) -> tuple[PoolAnswer, ...]:
    """All pools of the settings."""
    return tuple(map(_answer, api.control.queue.pools()))


@router.post("/{name}/pause")
async def pause_pool(api: Api, name: str) -> PoolAnswer:
    """Let no step of the pool start; what is under way goes on."""
    return _answer(await api.control.queue.pause(name, paused=True))


@router.post("/{name}/resume")
async def resume_pool(api: Api, name: str) -> PoolAnswer:
    """Let steps of the pool start again."""
    return _answer(await api.control.queue.pause(name, paused=False))


def _answer(view: PoolView) -> PoolAnswer:
    status = "open" if not view.paused else "paused" if view.in_use else "drained"
    rate = None if view.rate is None else RateAnswer(count=view.rate.count, seconds=view.rate.seconds)
    return PoolAnswer(
        name=view.name, slots=view.slots, in_use=view.in_use, waiting=view.waiting, status=status, rate=rate
    )
