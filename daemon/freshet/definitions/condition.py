"""Automation conditions as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["AutomationCondition"]


@dataclass(frozen=True)
class AutomationCondition:
    """Stands in until the full vocabulary is here."""

    kind: Literal["or", "eager", "on_lapse", "on_missing"] = "eager"
    children: tuple[AutomationCondition, ...] = ()

    def __or__(self, other: AutomationCondition) -> AutomationCondition:
        return AutomationCondition("or", (self, other))

    @staticmethod
    def eager() -> AutomationCondition:
        """When upstream data changes."""
        return AutomationCondition("eager")

    @staticmethod
    def on_lapse() -> AutomationCondition:
        """When freshness lapses."""
        return AutomationCondition("on_lapse")

    @staticmethod
    def on_missing() -> AutomationCondition:
        """When missing."""
        return AutomationCondition("on_missing")
