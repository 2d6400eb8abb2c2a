"""All gates of a queue, by what they concern: a pool, all runs, or runs with a tag."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from freshet.definitions.executor import Lane
from freshet.definitions.limits import Limits
from freshet.definitions.names import nearest_hint
from freshet.definitions.pool import Rate, StepUse
from freshet.engine.queue.gates import Demand, Gate, RateGate
from freshet.errors import UnknownName

__all__ = ["Gatehouse", "PoolView"]


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool as it stands: how many slots, how many of them are taken, and how many steps wait that want some."""

    name: str
    slots: int
    in_use: int
    waiting: int
    paused: bool
    rate: Rate | None


class Gatehouse:
    """Gates of tags come with the first run that has the tag, and go with the last."""

    def __init__(self, workers: int, lanes: Mapping[Lane, int], limits: Limits) -> None:
        self.limits = limits
        self.workers = Gate("executor", "process", workers)
        self.executors = {name: Gate("executor", name, slots) for name, slots in lanes.items()}
        self.plain: Demand = ((self.workers, 1),)
        self.pools = {name: Gate("pool", name, one.slots) for name, one in limits.pools.items()}
        self.rates = {name: RateGate(name, one.rate) for name, one in limits.pools.items() if one.rate}
        self.runs: Demand = () if limits.runs is None else ((Gate("runs", "runs", limits.runs), 1),)
        self._uses: dict[StepUse, Demand] = {}
        self._tags: dict[str, Gate] = {}
        self._users: dict[str, int] = {}

    def resize(self, limits: Limits) -> Iterator[Gate]:
        """Pools as they are now, and other numbers of the limits that there are; what is taken stays so. Who waits is
        placed anew after this. Gives the gates that may have more room."""
        self.limits = limits
        self._uses.clear()
        for name in self.pools.keys() - limits.pools.keys():
            del self.pools[name]
        for name, one in limits.pools.items():
            gate = self.pools.setdefault(name, Gate("pool", name, one.slots))
            gate.capacity = one.slots
            rate = self.rates.get(name)
            if one.rate is None:
                self.rates.pop(name, None)
            elif rate is None:
                self.rates[name] = RateGate(name, one.rate)
            else:
                rate.rate, rate.capacity = one.rate, one.rate.count
        for gate, _ in self.runs:
            gate.capacity = gate.capacity if limits.runs is None else limits.runs
        for name, gate in self._tags.items():
            gate.capacity = limits.tags.get(name, limits.tags.get(name.partition("=")[0], gate.capacity))
        yield from (*self.pools.values(), *self.rates.values(), *self._tags.values(), *(gate for gate, _ in self.runs))

    def of_tags(self, tags: Mapping[str, str]) -> Demand:
        """What a run with these tags takes of limits by tags: these are kept until they are `dropped`."""
        found: list[tuple[Gate, int]] = []
        for name, capacity in self.limits.of_tags(tags):
            self._users[name] = self._users.get(name, 0) + 1
            if name not in self._tags:
                self._tags[name] = Gate("tag", name, capacity)
            found.append((self._tags[name], 1))
        return tuple(found)

    def dropped(self, tags: Demand) -> None:
        """A run that they counted, or would have, has gone."""
        for gate, _ in tags:
            self._users[gate.name] -= 1
            if not self._users[gate.name]:
                del self._users[gate.name], self._tags[gate.name]

    def of_step(self, use: StepUse | None) -> Demand:
        """What a step takes when it starts, and of all but a rate gives back when it ends."""
        if use is None:
            return self.plain
        found = self._uses.get(use)
        if found is None:
            executor = self.executors.get(use.executor, self.workers)
            of_pool: Demand = ()
            if use.pool is not None and use.pool.pool in self.pools:
                of_pool = ((self.pools[use.pool.pool], use.pool.slots),)
                if use.pool.pool in self.rates:
                    of_pool = ((self.rates[use.pool.pool], 1), *of_pool)
            found = self._uses[use] = (*of_pool, (executor, 1))
        return found

    def first(self, use: StepUse | None) -> Demand:
        """What the first step of a run takes, beside limits by tags."""
        return (*self.runs, *self.of_step(use))

    def views(self, waiting_for: Callable[[Gate], int]) -> tuple[PoolView, ...]:
        """All pools by name, as they stand."""
        return tuple(
            PoolView(name, gate.capacity, gate.used, waiting_for(gate), gate.paused, self.limits.pools[name].rate)
            for name, gate in sorted(self.pools.items())
        )

    def pool(self, name: str) -> Gate:
        """The slots of a pool. Raises `UnknownName` with the nearest."""
        if name not in self.pools:
            raise UnknownName(f"there is no pool {name!r}", hint=nearest_hint(name, self.pools))
        return self.pools[name]
