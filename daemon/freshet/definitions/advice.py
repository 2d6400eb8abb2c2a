"""What `freshet check` warns of: definitions that are allowed, and do not do what they seem to."""

from __future__ import annotations

from collections.abc import Iterator

from freshet.definitions.condition import AutomationCondition, LapseUnserved
from freshet.definitions.graph import Definitions
from freshet.errors import DefinitionError

__all__ = ["advice"]


def advice(definitions: Definitions) -> Iterator[DefinitionError]:
    """One for each asset that waits for a lapse where no promise can lapse. `definitions` are valid."""
    for spec in definitions.assets:
        if spec.automation is None or not _waits_for_lapse(spec.automation):
            continue
        if not any(definitions.asset[name].freshness for name in definitions.select([spec.name], upstream=True)):
            yield DefinitionError(
                f"asset {spec.name!r}: on_lapse() never comes: neither it nor an asset above it has a freshness policy",
                hint='give one of them freshness=Freshness(within="1h")',
                file=spec.source.file if spec.source else None,
                line=spec.source.line if spec.source else None,
            )


def _waits_for_lapse(condition: AutomationCondition) -> bool:
    return isinstance(condition, LapseUnserved) or any(_waits_for_lapse(one) for one in condition.children())
