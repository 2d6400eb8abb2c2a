"""`--wait`: the steps of runs while they run. Live on a terminal, line by line elsewhere."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from freshet.cli.client import Client
from freshet.cli.journal_lines import JournalLine, parse_line, progress_text, rendered
from freshet.cli.session import Session, print_json
from freshet.cli.tables import console, state_text
from freshet.cli.text import error_line, in_line
from freshet.cli.waiting import Waiting
from freshet.definitions.durations import format_duration
from freshet.errors import FreshetError
from freshet.http.models import RunAnswer, StepAnswer

__all__ = ["watch"]

_LOOK = 0.25
"""Seconds between looks at the runs; the end of the first of them is seen at once."""
_LAST_LINES = 2.0
"""Seconds that the last lines of a journal get after the end of its run."""


class _Display(Protocol):
    def line(self, line: JournalLine) -> None: ...
    def said(self, text: str) -> None: ...
    def show(self, state: _State) -> None: ...


@dataclass
class _State:
    runs: dict[int, RunAnswer]
    progress: dict[str, JournalLine] = field(default_factory=dict[str, JournalLine])

    @property
    def pending(self) -> list[int]:
        return [run_id for run_id, run in self.runs.items() if not run.ended]


def watch(session: Session, client: Client, run_ids: Sequence[int]) -> int:
    """Wait until all runs have ended; 0 if all succeeded, 1 if not. Ctrl-C leaves the runs alone: 130.

    Raises `HostError` where a run would wait until somebody restarts the daemon.
    """
    state = _State({run_id: client.run(run_id) for run_id in run_ids})
    try:
        if session.json:
            _until_ended(client, state, _Silent(), follow=False)
            print_json(list(state.runs.values()))
        elif sys.stdout.isatty():
            with Live(console=console(), refresh_per_second=8, transient=True) as live:
                _until_ended(client, state, _OnTerminal(live), follow=True)
        else:
            _until_ended(client, state, _Plain(), follow=True)
    except KeyboardInterrupt:
        for run_id in state.pending:
            print(f"run {run_id} goes on: freshet logs {run_id} -f", file=sys.stderr)  # noqa: T201
        return 130
    if not session.json:
        for run in state.runs.values():
            for text in _ending(run):
                print(text)  # noqa: T201
    return 0 if all(run.state == "succeeded" for run in state.runs.values()) else 1


def _until_ended(client: Client, state: _State, display: _Display, *, follow: bool) -> None:
    lines: queue.SimpleQueue[JournalLine] = queue.SimpleQueue()
    readers = [_reader(client, run_id, lines) for run_id in state.runs] if follow else []
    waiting = Waiting(client)
    while pending := state.pending:
        for run_id in pending:
            news = waiting.news(state.runs[run_id])
            if news is not None:
                display.said(news)
        first, *others = pending
        state.runs[first] = client.wait(first, timeout=_LOOK)
        for run_id in others:
            state.runs[run_id] = client.run(run_id)
        _take(lines, state, display)
    until = time.monotonic() + _LAST_LINES
    for reader in readers:
        reader.join(max(0.0, until - time.monotonic()))
    _take(lines, state, display)


def _reader(client: Client, run_id: int, lines: queue.SimpleQueue[JournalLine]) -> threading.Thread:
    def read() -> None:
        with suppress(FreshetError):  # the daemon went away: the look at the run says so
            for raw in client.journal(run_id, follow=True):
                lines.put(parse_line(raw))

    thread = threading.Thread(target=read, name=f"journal-{run_id}", daemon=True)
    thread.start()
    return thread


def _take(lines: queue.SimpleQueue[JournalLine], state: _State, display: _Display) -> None:
    with suppress(queue.Empty):
        while True:
            line = lines.get_nowait()
            if line.stream == "progress":
                state.progress[line.step] = line
            display.line(line)
    display.show(state)


class _Silent:
    def line(self, line: JournalLine) -> None:
        pass

    def said(self, text: str) -> None:
        pass

    def show(self, state: _State) -> None:
        pass


class _Plain:
    """Each line of the journal, as it comes."""

    def line(self, line: JournalLine) -> None:
        print(rendered(line), flush=True)  # noqa: T201

    def said(self, text: str) -> None:
        print(in_line(text), flush=True)  # noqa: T201

    def show(self, state: _State) -> None:
        pass


class _OnTerminal:
    """The steps below, what they write above."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def line(self, line: JournalLine) -> None:
        if line.stream != "progress":
            self._live.console.print(Text(rendered(line)))

    def said(self, text: str) -> None:
        """It stands beside the run's state."""

    def show(self, state: _State) -> None:
        self._live.update(Group(*(_steps(run, state.progress) for run in state.runs.values())))


def _steps(run: RunAnswer, progress: dict[str, JournalLine]) -> Table:
    drawn = Table.grid(padding=(0, 2))
    where = f" [{run.partition}]" if run.partition is not None else ""
    why = f" ({in_line(run.blocked_by)})" if run.blocked_by else ""
    drawn.add_row(Text(in_line(f"run {run.id}{where}"), style="bold"), state_text(run.state).append(why))
    for step in run.steps:
        drawn.add_row(Text(f"  {in_line(step.name)}"), state_text(step.state), Text(_took(step)), *_bar(step, progress))
    return drawn


def _bar(step: StepAnswer, progress: dict[str, JournalLine]) -> Iterable[Text | ProgressBar]:
    line = progress.get(step.name)
    if line is None or step.state != "started":
        return
    done, total = line.fields.get("done"), line.fields.get("total")
    if isinstance(done, int | float) and isinstance(total, int | float) and total > 0:
        yield ProgressBar(total=total, completed=min(done, total), width=24)
    yield Text(in_line(progress_text(line.fields)))


def _took(step: StepAnswer) -> str:
    if step.started_at is None:
        return ""
    return format_duration(max(0.0, (step.ended_at or time.time()) - step.started_at))


def _ending(run: RunAnswer) -> list[str]:
    took = "" if run.ended_at is None else f" after {format_duration(max(0.0, run.ended_at - run.created_at))}"
    lines = [f"run {run.id} {run.state}{took}"]
    for step in run.steps:
        if step.state == "failed":
            lines.append(f"  {in_line(step.name)} failed: {error_line(step.error)}")
        elif step.state in ("skipped", "canceled"):
            lines.append(f"  {in_line(step.name)} {step.state}")
    if run.error and not any(step.error for step in run.steps):
        lines.append(f"  {error_line(run.error)}")
    return lines
