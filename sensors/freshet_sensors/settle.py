"""When a file is taken for finished: a decision over looks, without a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from freshet_sensors.scan import File, Row

__all__ = ["Settling"]


@dataclass
class Settling:
    """Candidates: what stands there and since when it has been seen to.

    `seconds`: how long size and time must have stood still. `trusted`: whether the files' times come from the same
    clock as the looks' (a local file system); if so an old file is taken at the first look.
    """

    seconds: float
    trusted: bool = True
    _candidates: dict[str, tuple[Row | None, float]] = field(default_factory=dict[str, tuple[Row | None, float]])
    _renamed: dict[str, int] = field(default_factory=dict[str, int])
    _count: int = 0

    def renamed(self, path: str) -> None:
        """The path was moved to its name whole: it does not wait."""
        self._count += 1
        self._renamed[path] = self._count

    def written(self, path: str) -> None:
        """The path was written to, or has gone: what stands there next waits, however this came to its name."""
        self._renamed.pop(path, None)

    def distrust(self) -> None:
        """Events were lost, or folders moved: none of what was moved to its name is known to be there still."""
        self._renamed.clear()

    def begin(self) -> int:
        """A look begins. What is heard of while it goes on is for the next: hand this number to `forget` and `keep`."""
        return self._count

    def wait(self, path: str, row: Row | None, now: float) -> float:
        """Seconds until what stands at `path` (None: nothing does) may be taken; 0 where it may be now."""
        if self.seconds <= 0 or path in self._renamed:
            return 0.0
        age = now - File(*row).mtime_ns / 1e9 if row is not None and self.trusted else -1.0
        if age >= self.seconds:
            return 0.0
        known = self._candidates.get(path)
        since = known[1] if known and known[0] == row and known[1] <= now else now
        self._candidates[path] = (row, since)
        # A time in the future says nothing, and must not keep a file waiting: two looks that agree do.
        return max(0.0, self.seconds - max(age, now - since))

    def forget(self, path: str, begun: int) -> None:
        """The path is taken, or was seen to be no news."""
        self._candidates.pop(path, None)
        if self._renamed.get(path, begun + 1) <= begun:
            del self._renamed[path]

    def keep(self, paths: set[str], begun: int) -> None:
        """After a full look: what is not among these is no candidate any more."""
        for path in [path for path in (*self._candidates, *self._renamed) if path not in paths]:
            self.forget(path, begun)

    def waiting(self) -> tuple[int, float | None]:
        """How many were seen and not taken yet, and since when (seconds since 1970) the oldest; None where none is."""
        return len(self._candidates), min((since for _, since in self._candidates.values()), default=None)

    def copy(self) -> Settling:
        """The same, for a look that must leave no trace."""
        return Settling(self.seconds, self.trusted, dict(self._candidates), dict(self._renamed), self._count)
