"""What the definitions as a whole, and the sizes of partition sets, warn of."""

from __future__ import annotations

from dataclasses import replace

from freshet.definitions.advice import advice
from freshet.definitions.graph import Definitions
from freshet.engine.calendar import too_many_combinations
from freshet.executors.base import LoadProblem, LoadReport

__all__ = ["with_warnings"]


def with_warnings(report: LoadReport, definitions: Definitions, now: float) -> LoadReport:
    """The report with `definitions`, which are its own with their zones resolved, and with what they warn of."""
    if report.problems:
        return replace(report, definitions=definitions)
    found = (LoadProblem(one.message, hint=one.hint, file=one.file, line=one.line) for one in advice(definitions))
    sizes = too_many_combinations(definitions, now)
    return replace(report, definitions=definitions, warnings=(*report.warnings, *found, *sizes))
