"""What the steps of a run kept to be looked at: a list, and the contents."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from anyio import to_thread
from fastapi import APIRouter, Response

from freshet.errors import UnknownName
from freshet.http.api.context import Api, RunId
from freshet.http.api.runs import find_run
from freshet.http.models import ArtifactAnswer

__all__ = ["router"]

router = APIRouter(prefix="/runs", tags=["runs"])

_FILE = re.compile(r"\d+-\d+-\d+\.(md|json|png|jpg|gif|webp|svg)")
_MEDIA = {
    "md": "text/markdown; charset=utf-8",
    "json": "application/json",
    "jpg": "image/jpeg",
    "svg": "image/svg+xml",
}
_SAFELY = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
}
"""A picture or text of a plugin's never runs as a page of ours."""


@router.get("/{run_id}/artifacts")
async def list_artifacts(api: Api, run_id: RunId) -> tuple[ArtifactAnswer, ...]:
    """What the steps showed, oldest first: of each step and name the last one."""
    await find_run(api, run_id)
    lines = await to_thread.run_sync(partial(_lines, _folder(api.state_dir, run_id) / "index.jsonl"))
    return tuple(_answer(line) for line in lines)


@router.get(
    "/{run_id}/artifacts/{file}",
    response_class=Response,
    responses={200: {"content": {"*/*": {}}, "description": "The artifact."}},
)
async def get_artifact(api: Api, run_id: RunId, file: str) -> Response:
    """The contents of one, by the `file` of the list."""
    await find_run(api, run_id)
    found = _FILE.fullmatch(file)
    try:
        if found is None:
            raise FileNotFoundError
        data = await to_thread.run_sync((_folder(api.state_dir, run_id) / file).read_bytes)
    except FileNotFoundError:
        raise UnknownName(f"run {run_id} has no artifact {file!r}", hint=f"freshet artifacts {run_id}") from None
    return Response(data, media_type=_MEDIA.get(found[1], f"image/{found[1]}"), headers=_SAFELY)


def _folder(state_dir: Path, run_id: int) -> Path:
    return state_dir / "runs" / str(run_id) / "artifacts"


def _lines(index: Path) -> list[dict[str, Any]]:
    try:
        text = index.read_bytes()
    except FileNotFoundError:
        return []
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for raw in text.splitlines():
        try:
            line: dict[str, Any] = orjson.loads(raw)
        except orjson.JSONDecodeError:  # it is still being written, or was cut off
            continue
        found.pop((line["step"], line["name"]), None)
        found[line["step"], line["name"]] = line
    return list(found.values())


def _answer(line: dict[str, Any]) -> ArtifactAnswer:
    return ArtifactAnswer(
        at=line["t"],
        step=line["step"],
        attempt=line["attempt"],
        name=line["name"],
        kind=line["kind"],
        file=line.get("file"),
        media=line.get("media"),
        size=line.get("size"),
        href=line.get("href"),
    )
