"""From what is next to runs that can be admitted. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pyroaring import BitMap

from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import TimePartitions
from freshet.engine.backfill.plan import NextRun
from freshet.engine.partitions.graph import PartitionGraph
from freshet.engine.steps import check_steps, steps_of
from freshet.store.records import BackfillRow, PartitionRef, RunToAdmit, StepToAdmit

__all__ = ["origin_of", "run_of_all", "run_to_admit"]


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


def run_of_all(graph: PartitionGraph, row: BackfillRow, wanted: Mapping[str, BitMap]) -> RunToAdmit:
    """One run with a step for every partition of every asset, in dependency order, each after all of those that it
    depends on and their blocking checks. `wanted` in dependency order."""
    through: dict[tuple[str, int], tuple[int, ...]] = {}
    steps: list[StepToAdmit] = []
    definitions = graph.definitions
    specs = [definitions.asset[name] for name in wanted]
    for spec in specs:
        above = [dep.asset for dep in spec.deps if dep.asset in wanted]
        checks = [one for one in definitions.checks_of.get(spec.name, ()) if not one.whole]
        for number in wanted[spec.name]:
            needed = ((one, graph.above(spec.name, one, BitMap([number])) & wanted[one]) for one in above)
            needs = sorted(place for one, numbers in needed for upper in numbers for place in through[one, upper])
            own = len(steps)
            at = None
            if spec.partitions is not None:
                key = spec.partitions.key(number) if isinstance(spec.partitions, TimePartitions) else ""
                at = PartitionRef(spec.partitions.name, key, number)
            alone = spec.overlap != "allow"
            steps.append(StepToAdmit(spec.name, tuple(needs), partitioned=at is not None, at=at, alone=alone))
            blocking = [place for place, check in enumerate(checks, len(steps)) if check.blocking]
            through[spec.name, number] = (own, *blocking)
            steps += check_steps(checks, (own,), at)
        made = tuple(through[spec.name, number][0] for number in wanted[spec.name])
        steps += check_steps([one for one in definitions.checks_of.get(spec.name, ()) if one.whole], made, None)
    return RunToAdmit(
        kind="asset",
        target=specs[-1].name,
        steps=tuple(steps),
        origin=origin_of(row.id),
        tags={**specs[-1].tags, **row.tags},
        priority=row.priority + max(spec.priority for spec in specs),
    )
