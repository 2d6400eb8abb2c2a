"""`freshet artifacts`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from freshet.cli.client import Client
from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.tables import table
from freshet.cli.text import clock, plain
from freshet.definitions.names import nearest_hint
from freshet.definitions.sizes import format_size
from freshet.errors import UnknownName
from freshet.http.models import ArtifactAnswer

__all__ = ["print_one", "show"]


def show(session: Session, run_id: int) -> None:
    """List them."""
    with session.client() as client:
        found = client.artifacts(run_id)
    if session.json:
        print_json(found)
        return
    rows = [(one.name, one.kind, one.step, clock(one.at), one.href or _size(one)) for one in found]
    table(("name", "kind", "step", "at", "what"), rows, empty=f"run {run_id} has no artifacts")


def _size(one: ArtifactAnswer) -> str:
    return format_size(one.size or 0)


def print_one(session: Session, run_id: int, name: str, step: str | None, output: Path | None) -> None:
    """The contents of one, on stdout or in a file."""
    with session.client() as client:
        one = _find(client, run_id, name, step)
        if one.file is None:
            print(plain(one.href or ""))  # noqa: T201
            return
        if output is None and one.kind == "image" and sys.stdout.isatty():
            raise UsageError(f"{name!r} is a picture ({one.media})", hint="give it a file: --output FILE")
        data = client.artifact(run_id, one.file)
    if output is not None:
        output.write_bytes(data)
    elif one.kind == "image":
        sys.stdout.buffer.write(data)
    elif one.kind == "table" and not session.json:
        _print_table(json.loads(data))
    else:
        print(plain(data.decode("utf-8", "backslashreplace")))  # noqa: T201


def _find(client: Client, run_id: int, name: str, step: str | None) -> ArtifactAnswer:
    every = client.artifacts(run_id)
    found = [one for one in every if one.name == name and step in (None, one.step)]
    if not found:
        hint = nearest_hint(name, {one.name for one in every}) or "its steps kept none"
        raise UnknownName(f"run {run_id} has no artifact {name!r}", hint=hint)
    if len(found) > 1:
        raise UsageError(f"{len(found)} steps have an artifact {name!r}", hint=f"add --step {found[0].step}")
    return found[0]


def _print_table(kept: dict[str, Any]) -> None:
    rows = [
        [cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False) for cell in row]
        for row in kept["rows"]
    ]
    table(kept["columns"], rows, empty="no rows")
    if kept["more"]:
        print(f"and {kept['more']:,} more")  # noqa: T201
