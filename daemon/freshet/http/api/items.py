"""The items of the `ctx.map` calls of a run, and ending one. Read from the run's folder: see `host.fanout.record`."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import orjson
from anyio import to_thread
from fastapi import APIRouter, Query

from freshet.executors.base import ItemRef
from freshet.http.api.context import Api, Limit, RunId
from freshet.http.api.convert import run_answer
from freshet.http.api.runs import find_run
from freshet.http.models import CancelItemBody, ItemAnswer, ItemState, MapAnswer, RunAnswer

__all__ = ["clear_items", "router"]

router = APIRouter(prefix="/runs", tags=["runs"])


@router.get("/{run_id}/items")
async def list_items(
    api: Api,
    run_id: RunId,
    state: ItemState | None = None,
    limit: Limit = 50,
    after: Annotated[int, Query(ge=-1, description="the number of the last item seen")] = -1,
) -> tuple[MapAnswer, ...]:
    """The calls of `ctx.map` in the order of their steps, and of each the items behind `after`, with the state if one
    is asked for; those that wait for their first attempt are counted alone."""
    await find_run(api, run_id)
    read = partial(_answers, api.state_dir / "runs" / str(run_id), state, limit, after)
    return await to_thread.run_sync(read)


@router.post("/{run_id}/items/cancel")
async def cancel_item(api: Api, run_id: RunId, body: CancelItemBody) -> RunAnswer:
    """End one item; the others go on. Nothing happens to one that is over."""
    row = await api.control.cancel(run_id, ItemRef(body.position, body.call, body.item))
    return run_answer(row, None)


def clear_items(state_dir: Path, step: str) -> int:
    """Forget what the items of a step have made (`ctx.map(cache=)`, see `host.fanout.cache`); returns how many."""
    folder = state_dir / "runs" / "cache" / step
    away = folder.with_name(f".{step}.{secrets.token_hex(8)}")
    try:
        folder.rename(away)
    except FileNotFoundError:
        return 0
    count = sum(1 for one in away.iterdir() if not one.name.startswith("."))
    shutil.rmtree(away, ignore_errors=True)
    return count


# --- reading ---------------------------------------------------------------------------------------------------


@dataclass
class _Map:
    position: int
    step: str
    call: int
    name: str = ""
    total: int = 0
    items: dict[int, ItemAnswer] = field(default_factory=dict[int, ItemAnswer])

    def answer(self, state: ItemState | None, limit: int, after: int) -> MapAnswer:
        counts = Counter[ItemState](one.state for one in self.items.values())
        counts["waiting"] += self.total - counts.total()
        shown = [one for number, one in sorted(self.items.items()) if number > after and state in (None, one.state)]
        return MapAnswer(
            position=self.position,
            step=self.step,
            call=self.call,
            name=self.name,
            total=self.total,
            counts=dict(+counts),
            items=tuple(shown[:limit]),
        )


def _answers(folder: Path, state: ItemState | None, limit: int, after: int) -> tuple[MapAnswer, ...]:
    maps = sorted((_read(path) for path in folder.glob("items-*.jsonl")), key=lambda one: (one.position, one.call))
    return tuple(one.answer(state, limit, after) for one in maps)


def _read(path: Path) -> _Map:
    _, position, rest = path.stem.split("-", 2)
    step, _, call = rest.rpartition("-")
    found = _Map(int(position), step, int(call))
    for line in _lines(path):
        if "map" in line:
            found.name, found.total, found.items = line["map"], line["total"], {}
        else:
            item = found.items.setdefault(line["i"], ItemAnswer(number=line["i"], state="waiting"))
            found.items[line["i"]] = item.model_copy(update=_changed(line))
    return found


def _changed(line: dict[str, Any]) -> dict[str, Any]:
    changed = {"attempts": line["n"], "at": line.get("t") or line.get("b"), "error": None}
    if "b" in line:
        return {**changed, "state": "running"}
    changed["seconds"] = line.get("d")
    if "error" not in line:
        return {**changed, "state": "succeeded", "cached": line.get("cached")}
    error = line["error"]
    state = "canceled" if line.get("canceled") else "failed" if line.get("again") is None else "retrying"
    return {**changed, "state": state, "error": f"{error['type']}: {error['message']}"}


def _lines(path: Path) -> Generator[dict[str, Any]]:
    with path.open("rb") as file:
        for text in file:
            try:
                yield orjson.loads(text)
            except orjson.JSONDecodeError:  # still being written, or cut off by a full disk
                continue
