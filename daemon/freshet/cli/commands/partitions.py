"""`freshet partitions`: sets, keys, and changes to them."""

from __future__ import annotations

import json
import time
from typing import Any, Literal

from freshet.cli.arguments import json_argument
from freshet.cli.client import Client
from freshet.cli.keyfile import as_json, reading
from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.tables import state_text, table
from freshet.cli.text import age, in_line
from freshet.http.models import PartitionAnswer, PartitionsChanged

__all__ = ["partitions"]

_OBJECT = """--metadata '{"path": "a.csv"}'"""


def partitions(
    session: Session,
    set: str | None,
    action: Literal["add", "delete"] | None,
    keys: list[str],
    metadata: str | None,
    source: str | None,
    limit: int,
    after: int,
) -> None:
    """All sets, one set's keys, or a change of one. `source`: a file of keys, `-` for standard input."""
    attached = _metadata(metadata, action)
    if source is not None:
        if action is None or keys or metadata is not None:
            raise UsageError("--from stands for the keys", hint=f"freshet partitions {set or 'SET'} add --from FILE")
        with session.client() as client, reading(source) as lines:
            _told(session, action, client.stream_partitions(set or "", action, as_json(lines)))
        return
    if action is not None and not keys:
        hint = f"freshet partitions {set} {action} KEY..., or --from FILE"
        raise UsageError(f"partitions {set} {action}: no keys", hint=hint)
    with session.client() as client:
        if set is None:
            _sets(session, client)
        elif action is None:
            _keys(session, client, set, limit, after)
        else:
            _change(session, client, set, action, keys, attached)


def _metadata(text: str | None, action: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json_argument(text, "--metadata")
    except UsageError as error:
        raise UsageError(f"--metadata wants a JSON object: {error.message}", hint=_OBJECT) from None
    if not isinstance(found, dict) or action != "add":
        raise UsageError("--metadata goes with add, and is a JSON object", hint=_OBJECT)
    return found  # pyright: ignore[reportUnknownVariableType]  # JSON


def _sets(session: Session, client: Client) -> None:
    found = client.partition_sets()
    if session.json:
        print_json(found)
        return
    table(
        ("set", "kind", "#keys", "assets"),
        ((one.name, one.kind, one.count, ", ".join(one.assets) or "-") for one in found),
        empty="no plugin declares partitions",
    )


def _keys(session: Session, client: Client, set: str, limit: int, after: int) -> None:
    page = client.partitions(set, limit=limit, after=after)
    if session.json:
        print_json(page)
        return
    now = time.time()
    assets = sorted({name for one in page.partitions for name in one.states})
    table(
        ("#number", "key", "added", *assets, "metadata"),
        (_row(one, assets, now) for one in page.partitions),
        empty="no keys",
    )
    if page.next is not None:
        print(f"more: freshet partitions {in_line(set)} --after {page.next}")  # noqa: T201


def _row(one: PartitionAnswer, assets: list[str], now: float) -> tuple[object, ...]:
    states = (state_text(one.states.get(name, "missing")) for name in assets)
    return one.number, one.key, age(one.added_at, now), *states, json.dumps(one.metadata, ensure_ascii=False)


def _change(session: Session, client: Client, set: str, action: str, keys: list[str], metadata: dict[str, Any]) -> None:
    if action == "add":
        answer = client.add_partitions(set, dict.fromkeys(keys, metadata))
    else:
        answer = client.delete_partitions(set, keys)
    _told(session, action, answer)


def _told(session: Session, action: str, answer: PartitionsChanged) -> None:
    if session.json:
        print_json(answer)
    else:
        print(f"{answer.changed} {'added' if action == 'add' else 'deleted'}")  # noqa: T201
