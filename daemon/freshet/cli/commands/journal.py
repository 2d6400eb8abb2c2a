"""`freshet logs`."""

from __future__ import annotations

from freshet.cli.journal_lines import parse_line, rendered
from freshet.cli.session import Session
from freshet.cli.text import plain

__all__ = ["logs"]


def logs(session: Session, run_id: int, *, follow: bool, tail: int | None) -> int:
    """Print the journal of a run, and go on until it ends if asked to. 130 after Ctrl-C."""
    with session.client() as client:
        try:
            for raw in client.journal(run_id, tail=tail, follow=follow):
                text = plain(raw.decode("utf-8", "backslashreplace")) if session.json else rendered(parse_line(raw))
                print(text, flush=follow)  # noqa: T201
        except KeyboardInterrupt:
            return 130
    return 0
