"""The command that says that an asset was made elsewhere."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.text import in_line
from freshet.http.models import ReportBody

__all__ = ["report"]


def report(
    session: Session,
    asset: str,
    partition: str | None,
    metadata: list[str],
    at: str | None,
    data_version: str | None,
) -> None:
    """Hand in a report, and say whether it counted."""
    if data_version is not None and not 0 < len(data_version) <= 64:
        raise UsageError("--data-version takes 1 to 64 characters", hint="an ETag, a commit, a digest")
    when = None if at is None else _moment(at)
    body = ReportBody(partition=partition, metadata=_metadata(metadata), at=when, data_version=data_version)
    with session.client() as client:
        answer = client.report(asset, body)
    if session.json:
        print_json(answer)
        return
    what = in_line(asset if partition is None else f"{asset} {partition}")
    older = "nothing moves: what is known of it is not older (kept as an event)"
    print(f"{what}: {'reported' if answer.counted else older}")  # noqa: T201


def _moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text.strip()).timestamp()  # without an offset: of this machine's zone
    except (ValueError, OverflowError, OSError):
        hint = 'write it as "2026-03-01T02:30" (local), or "2026-03-01T02:30:00+01:00"'
        raise UsageError(f"--at {text[:60]!r} is no date and no time", hint=hint) from None


def _metadata(pairs: list[str]) -> dict[str, Any]:
    """Values are JSON where they can be read as such, else texts."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--metadata {pair!r} is not K=V", hint="for example --metadata rows=12")
        try:
            found[name] = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            found[name] = text
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
