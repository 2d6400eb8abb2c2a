"""The plugins as loaded."""

from __future__ import annotations

from typing import Literal

from freshet.http.models.base import Answer
from freshet.http.models.status import ProblemAnswer

__all__ = ["PluginAnswer", "ReloadAnswer"]


class ReloadAnswer(Answer):
    """What came of loading the plugins. `changed`: they are in force as they are now; `refused`: something is
    wrong with them (`problems`), and those of before stay. `version`: that is in force; `seconds`: from being asked.
    The settings are read again first: `settings_changed` hold now, `settings_waiting` want a restart; with a
    `settings_problem` those of before stay."""

    outcome: Literal["changed", "unchanged", "refused"]
    version: str
    problems: tuple[ProblemAnswer, ...] = ()
    seconds: float = 0.0
    settings_changed: tuple[str, ...] = ()
    settings_waiting: tuple[str, ...] = ()
    settings_problem: ProblemAnswer | None = None


class PluginAnswer(Answer):
    """A plugin file. `loaded`: in force as it was written last; `unchanged`: so since an earlier load; `failed`: what
    is there now is not in force, see `problem`; `quarantined`: loading it hung or ended its process, and it is not
    tried again until it is edited or a reload is asked for; `held back`: nothing is wrong with it, but with another
    that is loaded with it. `since`: when that began."""

    file: str
    state: Literal["loaded", "unchanged", "failed", "quarantined", "held back"]
    since: float
    problem: ProblemAnswer | None = None
