"""The steps of a run: those of its assets in dependency order, each with its checks right after it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from freshet.definitions.check import CheckSpec
from freshet.definitions.graph import Definitions
from freshet.store.records import PartitionRef, StepToAdmit

__all__ = ["check_steps", "steps_of"]


def steps_of(
    definitions: Definitions, names: Sequence[str], *, partitioned: bool, checks: Collection[str] = ()
) -> tuple[StepToAdmit, ...]:
    """Steps for assets that stand in dependency order, each after those of its upstreams that are among them and after
    the blocking checks of these. `checks`: steps of checks (`Definitions.check`) that are to run without their asset's
    step."""
    if definitions.checks:
        return _checked(definitions, names, partitioned, checks)
    position = {name: index for index, name in enumerate(names)}
    steps: list[StepToAdmit] = []
    for name in names:
        spec = definitions.asset[name]
        needs = sorted(position[dep.asset] for dep in spec.deps if dep.asset in position)
        in_it = partitioned and spec.partitions is not None
        steps.append(StepToAdmit(name, tuple(needs), in_it, alone=spec.overlap != "allow"))
    return tuple(steps)


def _checked(
    definitions: Definitions, names: Sequence[str], partitioned: bool, alone: Collection[str]
) -> tuple[StepToAdmit, ...]:
    """`through`: by asset, what must have succeeded before those below it begin."""
    made, steps, through = frozenset(names), list[StepToAdmit](), dict[str, tuple[int, ...]]()
    order = definitions.select({*names, *(definitions.check[one].asset for one in alone)}) if alone else names
    for name in order:
        spec, own = definitions.asset[name], tuple[int, ...]()
        in_it = partitioned and spec.partitions is not None
        if name in made:
            own = (len(steps),)
            needs = sorted(place for dep in spec.deps for place in through.get(dep.asset, ()))
            steps.append(StepToAdmit(name, tuple(needs), in_it, alone=spec.overlap != "allow"))
        through[name] = own
        for check in definitions.checks_of.get(name, ()):
            if name in made or check.step in alone:
                through[name] += (len(steps),) if check.blocking else ()
                steps.append(StepToAdmit(check.step, own, in_it and not check.whole, check_of=name))
    return tuple(steps)


def check_steps(
    checks: Sequence[CheckSpec], needs: tuple[int, ...], at: PartitionRef | None
) -> tuple[StepToAdmit, ...]:
    """The steps of checks that look at the same partition, in a run where steps have partitions of their own."""
    return tuple(StepToAdmit(one.step, needs, partitioned=at is not None, at=at, check_of=one.asset) for one in checks)
