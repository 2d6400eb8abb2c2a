"""What came of reading the settings again."""

from __future__ import annotations

from dataclasses import dataclass

from freshet.executors.base import LoadProblem

__all__ = ["Reread"]


@dataclass(frozen=True, slots=True)
class Reread:
    """What came of it. `changed`: the settings that are others now, by name; `waiting`: those that are others in the
    file and want a restart; `problem`: why those of before stay."""

    changed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    problem: LoadProblem | None = None
