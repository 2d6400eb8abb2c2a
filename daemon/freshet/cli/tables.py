"""Tables on stdout: fitted to a terminal, and cut nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from freshet.cli.text import in_line

__all__ = ["console", "state_text", "table"]

_UNBOUNDED = 100_000
_STYLES = {
    "ok": "green",
    "fresh": "green",
    "materialized": "green",
    "succeeded": "green",
    "ready": "green",
    "loaded": "green",
    "unchanged": "green",
    "held back": "yellow",
    "started": "cyan",
    "in_progress": "cyan",
    "queued": "blue",
    "retrying": "yellow",
    "warn": "yellow",
    "paused": "yellow",
    "waiting": "yellow",
    "interrupted": "yellow",
    "canceling": "yellow",
    "stopping": "yellow",
    "degraded": "red",
    "failing": "red",
    "failed": "red",
    "lapsed": "red",
    "quarantined": "red",
    "canceled": "magenta",
}


def console() -> Console:
    """For stdout. Nothing in a text is markup, and a pipe gets whole lines."""
    width = None if sys.stdout.isatty() else _UNBOUNDED
    return Console(markup=False, highlight=False, emoji=False, width=width)


def state_text(state: str) -> Text:
    """A state in its colour."""
    return Text(in_line(state), style=_STYLES.get(state, ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under their headings, or `empty` where there are none. Headings that begin with `#` are of numbers."""
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in columns:
        drawn.add_column(heading.removeprefix("#"), justify="right" if heading.startswith("#") else "left")
    count = 0
    for row in rows:
        count += 1
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(in_line(str(cell))) for cell in row))
    out = console()
    if count:
        out.print(drawn)
    else:
        out.print(Text(in_line(empty)))
