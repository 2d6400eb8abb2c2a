"""From what is next to runs that can be admitted. Pure."""

from __future__ import annotations

from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import TimePartitions
from freshet.engine.backfill.plan import NextRun
from freshet.engine.requests import steps_of
from freshet.store.records import BackfillRow, RunToAdmit

__all__ = ["origin_of", "run_to_admit"]


def origin_of(backfill_id: int) -> str:
    """What a run says that asked for it."""
    return f"backfill:{backfill_id}"


def run_to_admit(definitions: Definitions, row: BackfillRow, run: NextRun) -> RunToAdmit:
    """A run of a backfill, with its priority and tags and no run key. A window is remembered when it is used."""
    specs = [definitions.asset[name] for name in run.assets]
    partitions = specs[0].partitions
    return RunToAdmit(
        kind="asset",
        target=run.assets[-1],
        steps=steps_of(definitions, run.assets, partitioned=run.set is not None),
        origin=origin_of(row.id),
        set=run.set,
        key=partitions.key(run.partition) if isinstance(partitions, TimePartitions) else None,
        partition=run.partition,
        tags={**specs[-1].tags, **row.tags},
        priority=row.priority + max(spec.priority for spec in specs),
    )
