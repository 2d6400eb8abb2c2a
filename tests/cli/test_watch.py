"""`--wait` on a terminal: the steps and their progress live, what they write above, and the end."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.http.hand_control import Served, served_in


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *argv: str) -> None:
        self._own, theirs = pty.openpty()
        command = [sys.executable, "-m", "freshet", *argv]
        env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=env)
        os.close(theirs)
        self.text = ""

    def until(self, text: str) -> None:
        """Read until it has shown `text`; the test's own limit of time bounds it."""
        while text not in self.text and self._read():
            pass
        assert text in self.text, self.text

    def _read(self) -> bool:
        try:
            piece = os.read(self._own, 65536)
        except OSError:  # Linux: the other end is closed
            return False
        self.text += piece.decode()
        return bool(piece)

    def end(self) -> int:
        """Read to the end; the exit status."""
        while self._read():
            pass
        os.close(self._own)
        self.process.communicate(timeout=60)
        return self.process.returncode


def _line(served: Served, **line: Any) -> None:
    journal = served.settings.state_dir / "runs" / "1" / "journal.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a") as file:
        file.write(json.dumps({"t": 1, "step": "sales", "attempt": 1, **line}) + "\n")


def test_a_terminal_shows_steps_progress_and_output(tmp_path: Path) -> None:
    with served_in(tmp_path) as served:
        terminal = Terminal("materialize", "sales", "--wait", "--config", str(tmp_path / "freshet.toml"))
        terminal.until("run 1")
        _line(served, stream="progress", fields={"done": 1, "total": 4})
        terminal.until("1/4 (25%)")
        _line(served, stream="stdout", text="\x1b]0;owned\x07 [red]x[/red]")
        terminal.until("sales | \\x1b]0;owned\\x07 [red]x[/red]")
        served.call(served.control.end, 1, "failed", {"type": "ValueError", "message": "no", "traceback": "..."})
        assert terminal.end() == 1
    assert "run 1 failed" in terminal.text
    assert "sales failed: ValueError: no" in terminal.text


def test_interrupting_the_watcher_leaves_the_run_alone(tmp_path: Path) -> None:
    with served_in(tmp_path) as served:
        terminal = Terminal("materialize", "sales", "--wait", "--config", str(tmp_path / "freshet.toml"))
        terminal.until("run 1")
        terminal.process.send_signal(2)
        _, err = terminal.process.communicate(timeout=60)
        assert terminal.end() == 130
        assert b"run 1 goes on: freshet logs 1 -f" in err
        served.call(served.control.end, 1)
