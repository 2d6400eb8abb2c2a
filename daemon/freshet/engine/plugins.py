"""Each plugin file by itself: loaded, unchanged, failed, quarantined, or held back by another's fault. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from freshet.executors.base import LoadProblem

__all__ = ["PluginState", "PluginView", "standing"]

PluginState = Literal["loaded", "unchanged", "failed", "quarantined", "held back"]


@dataclass(frozen=True, slots=True)
class PluginView:
    """A plugin file. `loaded`: in force as it was written last; `unchanged`: so since an earlier load; `failed`: what
    is there now is not in force, see `problem`; `quarantined`: loading it hung or ended its process, and it is not
    tried again until it is edited or a reload is asked for by hand; `held back`: nothing is wrong with it, but
    with another that is loaded with it. `since`: when that began."""

    file: str
    state: PluginState
    since: float
    problem: LoadProblem | None = None


def standing(
    digests: Mapping[str, str],
    in_force: Mapping[str, str],
    before: Mapping[str, PluginView],
    *,
    problems: Sequence[LoadProblem],
    quarantined: Mapping[str, LoadProblem],
    loaded: Mapping[str, str] | None,
    now: float,
) -> dict[str, PluginView]:
    """How each file stands after a load. `digests`: as they are now; `in_force`: as they are in force; `loaded`: as
    they were in force before this load, where it has put other definitions in force."""
    failed: dict[str, LoadProblem] = {}
    for one in problems:
        if one.file is not None:
            failed.setdefault(one.file, one)
    found: dict[str, PluginView] = {}
    for file in sorted({*digests, *in_force}):
        state: PluginState
        problem = quarantined.get(file) or failed.get(file)
        if problem is not None:
            state = "quarantined" if file in quarantined else "failed"
        elif digests.get(file) != in_force.get(file):
            state = "held back"
        elif loaded is not None:
            state = "unchanged" if loaded.get(file) == in_force.get(file) else "loaded"
        else:
            state = before[file].state if file in before and before[file].problem is None else "unchanged"
            state = "unchanged" if state == "held back" else state
        known = before.get(file)
        since = known.since if known is not None and (known.state, known.problem) == (state, problem) else now
        if state == "unchanged" and known is not None and known.state == "loaded":
            since = known.since
        found[file] = PluginView(file, state, since, problem)
    return found
