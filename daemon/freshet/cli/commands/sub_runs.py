"""The runs that the steps of a run asked for."""

from __future__ import annotations

from freshet.cli.tables import state_text, table
from freshet.http.models import RunAnswer

__all__ = ["show_sub_runs"]


def show_sub_runs(one: RunAnswer) -> None:
    """A table of them, if there are any."""
    if one.sub_runs:
        table(
            ("#run", "of step", "target", "partition", "state"),
            (
                (sub.id, one.steps[sub.position].name, sub.target, sub.partition or "-", state_text(sub.state))
                for sub in one.sub_runs
            ),
            empty="",
        )
