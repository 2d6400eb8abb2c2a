"""When a file is taken for finished: a decision over looks, without a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from freshet_sensors.scan import File

__all__ = ["Settling"]


@dataclass
class Settling:
    """Candidates: what stands there and since when it has been seen to.

    `seconds`: how long size and time must have stood still. `trusted`: whether the files' times come from the same
    clock as the looks' (a local file system); if so an old file is taken at the first look.
    """

    seconds: float
    trusted: bool = True
    renamed: set[str] = field(default_factory=set[str])
    """Paths that were moved to their names whole: these do not wait."""
    _candidates: dict[str, tuple[File | None, float]] = field(default_factory=dict[str, tuple[File | None, float]])

    def wait(self, path: str, file: File | None, now: float) -> float:
        """Seconds until what stands at `path` (None: nothing does) may be taken; 0 where it may be now."""
        left = self._left(path, file, now)
        if left <= 0:
            self.forget(path)
            return 0.0
        return left

    def forget(self, path: str) -> None:
        """Whatever was known of the path is settled or gone."""
        self._candidates.pop(path, None)
        self.renamed.discard(path)

    def keep(self, paths: set[str]) -> None:
        """After a full look: what is not among these is no candidate any more."""
        self.renamed &= paths
        for path in self._candidates.keys() - paths:
            del self._candidates[path]

    def copy(self) -> Settling:
        """The same, for a look that must leave no trace."""
        return Settling(self.seconds, self.trusted, set(self.renamed), dict(self._candidates))

    def _left(self, path: str, file: File | None, now: float) -> float:
        if self.seconds <= 0 or path in self.renamed:
            return 0.0
        age = now - file.mtime_ns / 1e9 if file is not None and self.trusted else -1.0
        if age >= self.seconds:
            return 0.0
        known = self._candidates.get(path)
        since = known[1] if known and known[0] == file and known[1] <= now else now
        self._candidates[path] = (file, since)
        # A time in the future says nothing, and must not keep a file waiting: two looks that agree do.
        return self.seconds - max(age, now - since)
