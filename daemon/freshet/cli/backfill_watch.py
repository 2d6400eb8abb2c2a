"""How far a backfill is, until it ends: a bar on a terminal, lines elsewhere, JSON lines for scripts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Literal

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from freshet.cli.client import Client
from freshet.cli.session import Session
from freshet.cli.tables import console, state_text
from freshet.cli.text import in_line
from freshet.definitions.durations import format_duration
from freshet.http.models import BackfillAnswer

__all__ = ["summary", "watch"]

_LOOK = 0.5
"""Seconds between looks."""
_BETWEEN_LINES = 5.0
"""Seconds between lines that tell of progress alone."""
_FIRST_LOOKS = 0.05


def watch(session: Session, client: Client, backfill_id: int) -> int:
    """Wait until it has ended; 0 if it succeeded, 1 if not. Ctrl-C leaves it running: 130."""
    try:
        if sys.stdout.isatty() and not session.json:
            with Live(console=console(), refresh_per_second=8, transient=True) as live:
                answer = _until_ended(client, backfill_id, lambda found: live.update(_drawn(found)))
        else:
            answer = _until_ended(client, backfill_id, _Lines(as_json=session.json).tell)
    except KeyboardInterrupt:
        print(f"backfill {backfill_id} goes on: freshet backfills {backfill_id} --wait", file=sys.stderr)  # noqa: T201
        return 130
    if session.json:
        print(json.dumps(answer.model_dump(mode="json")))  # noqa: T201
    else:
        print(in_line(summary(answer)))  # noqa: T201
        if answer.error:
            print(f"{in_line(answer.error)}; freshet retry backfill:{answer.id} makes what is left")  # noqa: T201
    return 0 if answer.state == "succeeded" else 1


def summary(answer: BackfillAnswer) -> str:
    """How far it is, in a line."""
    told: Sequence[tuple[Literal["failed", "blocked", "in_flight"], str]] = (
        ("failed", "failed"),
        ("blocked", "blocked"),
        ("in_flight", "running"),
    )
    words = [f"{answer.total('done'):,} of {answer.total('wanted'):,} done"]
    for what, word in told:
        count = answer.total(what)
        words += [f"{count:,} {word}"] if count else []
    if not answer.ended:
        words.append(f"{answer.total('left'):,} left")
    if answer.eta is not None:
        words.append(f"about {format_duration(max(1, round(answer.eta)))} to go")
    return f"backfill {answer.id} {answer.state}: {', '.join(words)}"


def _until_ended(client: Client, backfill_id: int, tell: Callable[[BackfillAnswer], None]) -> BackfillAnswer:
    pause = _FIRST_LOOKS
    while True:
        answer = client.backfill(backfill_id)
        if answer.ended:
            return answer
        tell(answer)
        time.sleep(pause)
        pause = min(pause * 2, _LOOK)


class _Lines:
    """A line where something changed: at once for failures and states, else every few seconds."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._told: tuple[object, ...] = ()
        self._at = 0.0

    def tell(self, answer: BackfillAnswer) -> None:
        """Print it if it is news."""
        grave = (answer.state, answer.total("failed"))
        now = time.monotonic()
        if grave == self._told and now - self._at < _BETWEEN_LINES:
            return
        self._told, self._at = grave, now
        if self._json:
            print(json.dumps(answer.model_dump(mode="json")), flush=True)  # noqa: T201
        else:
            print(in_line(summary(answer)), flush=True)  # noqa: T201


def _drawn(answer: BackfillAnswer) -> Group:
    bar = Table.grid(padding=(0, 2))
    total, over = answer.total("wanted"), answer.total("done") + answer.total("failed") + answer.total("blocked")
    bar.add_row(ProgressBar(total=max(1, total), completed=over, width=40), Text(in_line(summary(answer))))
    rows = Table.grid(padding=(0, 2))
    for one in answer.progress:
        state = "failed" if one.failed else "started" if one.in_flight else "succeeded" if not one.left else "queued"
        rows.add_row(Text(f"  {in_line(one.asset)}"), state_text(state), Text(f"{one.done:,} of {one.wanted:,}"))
    return Group(bar, rows)
