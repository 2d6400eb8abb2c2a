"""Lines: runs that go one after the other."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from freshet.store.records.runs import RunGroup

__all__ = ["Lines"]


@dataclass
class Lines:
    """Runs that joined one line go in the order in which they came, each when those before have left."""

    _lines: dict[RunGroup, deque[int]] = field(default_factory=dict[RunGroup, deque[int]])
    _line_of: dict[int, RunGroup] = field(default_factory=dict[int, RunGroup])

    def join(self, run_id: int, line: RunGroup) -> None:
        """The run goes after those that joined before it."""
        if run_id not in self._line_of:
            self._line_of[run_id] = line
            self._lines.setdefault(line, deque()).append(run_id)

    def has(self, line: RunGroup) -> bool:
        """Whether a run of the line has not left it."""
        return line in self._lines

    def __contains__(self, run_id: int) -> bool:
        return run_id in self._line_of

    def behind(self, run_id: int) -> int | None:
        """The run that goes before this one and has not ended; None if it may go itself."""
        if self.goes(run_id):
            return None
        runs = self._lines[self._line_of[run_id]]
        return runs[runs.index(run_id) - 1]

    def goes(self, run_id: int) -> bool:
        """Whether no run goes before this one: in the same time however long the line is."""
        line = self._line_of.get(run_id)
        return line is None or self._lines[line][0] == run_id

    def left(self, run_id: int) -> int | None:
        """The run has ended; returns the one that is first now, if the line goes on."""
        line = self._line_of.pop(run_id, None)
        if line is None:
            return None
        runs = self._lines[line]
        runs.remove(run_id)
        if not runs:
            del self._lines[line]
            return None
        return runs[0]
