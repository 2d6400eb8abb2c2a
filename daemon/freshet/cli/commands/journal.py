"""`freshet logs`."""

from __future__ import annotations

import queue
import sys
import threading

from freshet.cli.client import Client
from freshet.cli.journal_lines import parse_line, rendered
from freshet.cli.session import Session
from freshet.cli.text import in_line, plain
from freshet.cli.waiting import Waiting
from freshet.errors import FreshetError

__all__ = ["logs"]

_QUIET = 0.5
"""Seconds of silence after which it asks whether the run waits for something."""


def logs(session: Session, run_id: int, *, follow: bool, tail: int | None) -> int:
    """Print the journal of a run, and go on until it ends if asked to. 130 after Ctrl-C."""
    with session.client() as client:
        try:
            if follow:
                _follow(session, client, run_id, tail)
            else:
                for raw in client.journal(run_id, tail=tail):
                    _print(session, raw)
        except KeyboardInterrupt:
            return 130
    return 0


def _print(session: Session, raw: bytes) -> None:
    text = plain(raw.decode("utf-8", "backslashreplace")) if session.json else rendered(parse_line(raw))
    print(text, flush=True)  # noqa: T201


def _follow(session: Session, client: Client, run_id: int, tail: int | None) -> None:
    """The lines as they come; what the run waits for, meanwhile, on stderr."""
    waiting = Waiting(client)
    lines = _lines(client, run_id, tail, first=waiting.news(client.run(run_id)))
    one: bytes | str | _End | None
    while True:
        try:
            one = lines.get(timeout=_QUIET)
        except queue.Empty:
            one = waiting.news(client.run(run_id))
        if isinstance(one, bytes):
            _print(session, one)
        elif isinstance(one, str):
            print(in_line(one), file=sys.stderr, flush=True)  # noqa: T201
        elif isinstance(one, _End):
            if one.error is not None:
                raise one.error
            return


class _End:
    """The journal has ended."""

    def __init__(self, error: FreshetError | None = None) -> None:
        self.error = error


def _lines(
    client: Client, run_id: int, tail: int | None, *, first: str | None
) -> queue.SimpleQueue[bytes | str | _End]:
    """The journal, read by a thread of its own, after a `first` word."""
    lines: queue.SimpleQueue[bytes | str | _End] = queue.SimpleQueue()
    if first is not None:
        lines.put(first)

    def read() -> None:
        try:
            for raw in client.journal(run_id, tail=tail, follow=True):
                lines.put(raw)
        except FreshetError as error:
            lines.put(_End(error))
        else:
            lines.put(_End())

    threading.Thread(target=read, name=f"journal-{run_id}", daemon=True).start()
    return lines
