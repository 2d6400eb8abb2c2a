"""A check's call, and what its answer says."""

from __future__ import annotations

from typing import Any

from freshet.definitions.check import CheckResult, CheckSpec
from freshet.errors import FreshetError
from freshet.host.messages import CheckData
from freshet.host.step_context import RunningCheck

__all__ = ["NoResult", "checked"]


_NUMPY = ("numpy.bool", "numpy.bool_")


class NoResult(FreshetError):
    """A check's function returned something that says neither yes nor no."""


def checked(spec: CheckSpec, returned: Any, context: RunningCheck) -> CheckData:
    """What a check found: its metadata goes to the context, and a failure into the journal. Raises `NoResult`, and
    `TypeError` for metadata that JSON cannot hold."""
    if isinstance(returned, CheckResult):
        context.metadata(**returned.metadata)
        severity, passed = returned.severity or spec.severity, _truth(returned.passed, spec)
    else:
        severity, passed = spec.severity, _truth(returned, spec)
    if not passed:
        tell = context.log.error if severity == "error" else context.log.warning
        tell("the check failed", **context.collected)
    return CheckData(passed=passed, severity=severity, blocking=spec.blocking)


def _truth(value: Any, spec: CheckSpec) -> bool:
    """Of True and False, and of numpy's own, which comparisons of arrays and frames give."""
    if isinstance(value, bool) or f"{type(value).__module__}.{type(value).__name__}" in _NUMPY:
        return bool(value)
    raise NoResult(
        f"check {spec.step} returned {value!r:.60}, which says neither yes nor no",
        hint="return True or False, or CheckResult(passed, metadata={...})",
    )
