"""The journal of a run: lines of JSON as its steps wrote them, also while they write."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from anyio import to_thread
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from freshet.http.api.context import Api, Context, RunId
from freshet.http.api.runs import find_run
from freshet.http.models import RunState

__all__ = ["router", "start_of_tail"]

router = APIRouter(prefix="/runs", tags=["runs"])

_POLL = 0.1
_PIECE = 256 * 1024
_ENDED: tuple[RunState, ...] = ("succeeded", "failed", "canceled")
_LINES = "application/x-ndjson"


@router.get("/{run_id}/journal", response_class=StreamingResponse, responses={200: {"content": {_LINES: {}}}})
async def journal(
    api: Api, run_id: RunId, tail: Annotated[int | None, Query(ge=0)] = None, follow: bool = False
) -> StreamingResponse:
    """The last `tail` lines (all of them by default), one JSON object each; `follow` goes on until the run ends."""
    await find_run(api, run_id)
    path = api.state_dir / "runs" / str(run_id) / "journal.jsonl"
    return StreamingResponse(_lines(api, run_id, path, tail, follow), media_type=_LINES)


async def _lines(api: Context, run_id: int, path: Path, tail: int | None, follow: bool) -> AsyncIterator[bytes]:
    """Whole lines only, while the run goes on; at the end also one that was cut off."""
    offset = 0 if tail is None else await to_thread.run_sync(start_of_tail, path, tail)
    rest = b""
    while True:
        # What was written before the run ended is in the file when its end can be seen.
        last = not follow or (await find_run(api, run_id)).state in _ENDED or api.closing.is_set()
        while piece := await to_thread.run_sync(partial(_read, path, offset)):
            offset += len(piece)
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            if newline:
                yield whole + newline
        if last:
            break
        await anyio.sleep(_POLL)
    if rest:
        yield rest + b"\n"


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_PIECE)
    except FileNotFoundError:
        return b""


def start_of_tail(path: Path, lines: int) -> int:
    """Where the last `lines` lines begin, read from the end; a line that is still being written counts as one."""
    try:
        with path.open("rb") as file:
            end = position = file.seek(0, os.SEEK_END)
            if lines == 0:
                return end
            found = 0
            while position > 0:
                size = min(_PIECE, position)
                position -= size
                file.seek(position)
                piece = file.read(size)
                at = len(piece) - 1 if position + size == end and piece.endswith(b"\n") else len(piece)
                while (at := piece.rfind(b"\n", 0, at)) != -1:
                    found += 1
                    if found == lines:
                        return position + at + 1
            return 0
    except FileNotFoundError:
        return 0
