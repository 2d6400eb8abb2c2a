"""Automation conditions as data: expressions that say when an asset is to be materialized.

Names and meanings are those of Dagster's `AutomationCondition`; a docstring says where one differs, and why.
A condition is a tree of frozen nodes. It compares, prints as an expression, serializes (orjson writes it, a
pydantic `TypeAdapter` reads it back by `kind`) and decides nothing itself: `engine.automation` evaluates it.
"""

from __future__ import annotations

from freshet.definitions.condition.nodes import (  # these first: what all nodes share names them
    AllDepsMatch,
    And,
    AnyDepsMatch,
    AnyDownstreamConditions,
    AssetMatches,
    Batch,
    CheckIs,
    ChecksMatch,
    CronTickPassed,
    Debounce,
    ExecutedWithTags,
    InLatestTimeWindow,
    LapseUnserved,
    NewlyTrue,
    Not,
    Operand,
    OperandKind,
    Or,
    Recently,
    Since,
    WhenDepsReady,
)

from freshet.definitions.condition.base import AutomationCondition  # isort: skip
from freshet.definitions.condition.selection import Selection  # isort: skip

__all__ = [
    "AllDepsMatch",
    "And",
    "AnyDepsMatch",
    "AnyDownstreamConditions",
    "AssetMatches",
    "AutomationCondition",
    "Batch",
    "CheckIs",
    "ChecksMatch",
    "CronTickPassed",
    "Debounce",
    "ExecutedWithTags",
    "InLatestTimeWindow",
    "LapseUnserved",
    "NewlyTrue",
    "Not",
    "Operand",
    "OperandKind",
    "Or",
    "Recently",
    "Selection",
    "Since",
    "WhenDepsReady",
]
