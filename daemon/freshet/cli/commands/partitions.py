"""`freshet partitions`: sets, keys, and changes to them."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.text import Text

from freshet.cli.arguments import json_argument
from freshet.cli.client import Client
from freshet.cli.keyfile import as_json, reading
from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.tables import state_text, table
from freshet.cli.text import age, in_line
from freshet.http.models import PartitionAnswer, PartitionsChanged

__all__ = ["Wishes", "partitions"]

_OBJECT = """--metadata '{"path": "a.csv"}'"""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Which keys of a set are shown."""

    limit: int
    after: int
    last: int | None
    state: str | None
    asset: str | None

    def check(self, set: str | None, action: str | None) -> None:
        """Raise `UsageError` for options that do not go with each other."""
        chosen = [name for name in ("last", "state", "asset") if getattr(self, name) is not None]
        if chosen and (set is None or action is not None):
            raise UsageError(
                f"--{chosen[0]} goes with the keys of a set", hint=f"freshet partitions SET --{chosen[0]} ..."
            )
        if self.last is not None and self.after:
            raise UsageError("--last and --after do not go together", hint="leave one of them out")
        if self.asset is not None and self.state is None:
            raise UsageError(
                "--asset goes with --state", hint=f"for example --state failed --asset {in_line(self.asset)}"
            )

    def again(self) -> str:
        """The options that another page takes, too."""
        given = {"state": self.state, "asset": self.asset}
        return "".join(f" --{name} {in_line(value)}" for name, value in given.items() if value is not None)


def partitions(
    session: Session,
    set: str | None,
    action: Literal["add", "delete"] | None,
    keys: list[str],
    metadata: str | None,
    source: str | None,
    wishes: Wishes,
) -> None:
    """All sets, one set's keys, or a change of one. `source`: a file of keys, `-` for standard input."""
    wishes.check(set, action)
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
            _keys(session, client, set, wishes)
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


def _keys(session: Session, client: Client, set: str, wishes: Wishes) -> None:
    page = client.partitions(set, **asdict(wishes))
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
        print(f"more: freshet partitions {in_line(set)}{wishes.again()} --after {page.next}")  # noqa: T201


def _row(one: PartitionAnswer, assets: list[str], now: float) -> tuple[object, ...]:
    states = (_state(one, name) for name in assets)
    return one.number, one.key, age(one.added_at, now), *states, json.dumps(one.metadata, ensure_ascii=False)


def _state(one: PartitionAnswer, asset: str) -> Text:
    """By which code it was made is told where it is no longer in force."""
    text, versions = state_text(one.states.get(asset, "missing")), one.versions.get(asset)
    return text.append(", by old code", "yellow") if versions is not None and versions.outdated else text


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
