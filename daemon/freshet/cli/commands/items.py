"""`freshet items`."""

from __future__ import annotations

from freshet.cli.client import Client
from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.tables import state_text, table
from freshet.cli.text import in_line, plain
from freshet.definitions.durations import format_duration
from freshet.errors import UnknownName
from freshet.http.models import CancelItemBody, ItemAnswer, ItemState, MapAnswer

__all__ = ["cancel", "show"]

_OVER: frozenset[ItemState] = frozenset({"succeeded", "failed", "canceled"})


def show(session: Session, run_id: int, call: int | None, state: ItemState | None, limit: int) -> None:
    """Each call, with its items."""
    with session.client() as client:
        found = client.items(run_id, state, limit)
    shown = found if call is None else [_numbered(found, run_id, call)]
    if session.json:
        print_json(shown)
        return
    if not shown:
        print(f"run {run_id} maps over no items")  # noqa: T201
    for one in shown:
        counts = ", ".join(f"{count:,} {word}" for word, count in one.counts.items())
        print(plain(f"call {found.index(one)}  {one.step}: {one.name}  {one.total:,} items: {counts}"))  # noqa: T201
        rows = [
            (item.number, state_text(item.state), item.attempts, _took(item), in_line(item.error or ""))
            for item in one.items
        ]
        if rows:
            table(("#item", "state", "#attempts", "took", "error"), rows, empty="")


def _took(item: ItemAnswer) -> str:
    if item.cached is not None:
        return f"made by run {item.cached}"
    return "-" if item.seconds is None else format_duration(item.seconds)


def cancel(session: Session, run_id: int, call: int | None, item: int) -> None:
    """End one."""
    with session.client() as client:
        one = _the_call(client, run_id, call, item)
        if item >= one.total:
            raise UnknownName(f"{one.name} has no item {item}", hint=f"they are numbered from 0 to {one.total - 1}")
        found = next((found.state for found in one.items if found.number == item), None)
        answer = client.cancel_item(run_id, CancelItemBody(position=one.position, call=one.call, item=item))
    if session.json:
        print_json(answer)
    else:
        became = f"is over: {found}" if found in _OVER else "is ended"
        print(f"item {item} of {plain(one.name)} {became}")  # noqa: T201


def _the_call(client: Client, run_id: int, call: int | None, item: int) -> MapAnswer:
    found = client.items(run_id, None, 1, after=item - 1)
    if call is not None or not found:
        return _numbered(found, run_id, call or 0)
    if len(found) > 1:
        raise UsageError(f"run {run_id} maps over items in {len(found)} calls", hint="say which: --call 0")
    return found[0]


def _numbered(found: list[MapAnswer], run_id: int, call: int) -> MapAnswer:
    if call >= len(found):
        said = f"run {run_id} maps over no items" if not found else f"run {run_id} has no call {call}"
        raise UnknownName(said, hint=f"freshet items {run_id} lists them")
    return found[call]
