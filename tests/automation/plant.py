"""A store and its runs in miniature: it commits events as the real ones do, and lets `Automation` look at each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pyroaring import BitMap
from tests.automation.plant_policies import Policies, State
from tests.automation.plant_sets import PlantSets, Spelling

from freshet.definitions.graph import Definitions
from freshet.engine.automation import Automation, Evaluation
from freshet.store.records import AssetBits, CheckedBits, ConditionChunk, Event

Wave = tuple[tuple[str, ...], str | None, int]
StepState = Literal["queued", "started", "succeeded", "failed", "released"]
ACTIVE = ("queued", "started")


@dataclass
class Run:
    id: int
    assets: tuple[str, ...]
    partition: int
    states: dict[str, StepState] = field(default_factory=dict[str, StepState])


@dataclass
class Made:
    materialized_seq: int | None = None
    materialized_at: float | None = None
    failed_seq: int | None = None
    held: bool = False
    results: dict[str, bool] = field(default_factory=dict[str, bool])

    def anew(self, seq: int, at: float, *, held: bool) -> None:
        """Materialized: what checks said was of what there was before."""
        self.materialized_seq, self.materialized_at, self.held = seq, at, held
        self.results.clear()


@dataclass
class Looked:
    """An evaluation that a crash may take back: of which events, and what was committed before it."""

    events: tuple[Event, ...]
    chunks: dict[tuple[str, str, int], bytes | None]
    looked_at: int
    waves: set[Wave] | None
    memory: Any


_TAKEN_BACK = 6
"""So many evaluations at the most."""


def wiring(definitions: Definitions) -> dict[str, str]:
    """What each asset depends on, and how."""
    return {
        spec.name: repr(sorted((dep.asset, repr(definitions.mapping(spec, dep))) for dep in spec.deps))
        for spec in definitions.assets
    }


class Plant:
    def __init__(self, definitions: Definitions, live: dict[str, Iterable[int]] | None = None) -> None:
        self.definitions = definitions
        self.sets = PlantSets(definitions, live or {})
        self.live = self.sets.live
        self.now = 0.0
        self.seq = self.txn = self.visited = 0
        self.runs: dict[int, Run] = {}
        self._active: list[Run] = []
        self.made: dict[tuple[str, int], Made] = {}
        self.whole: dict[tuple[str, str], bool] = {}
        self.policies = Policies(definitions)
        self.chunks: dict[tuple[str, str, int], bytes] = {}
        self.asked: list[set[Wave]] = []
        self.waves: list[Wave] = []
        self.wake_at: float | None = None
        self.looked_at = 0
        self.busy = False
        self.gathered: list[Event] | None = None
        self.unlooked: list[tuple[Event, ...]] = []
        self.journal: list[Looked] = []
        self.set_of = {spec.name: spec.partitions and spec.partitions.name for spec in definitions.assets}
        self.wiring = wiring(definitions)
        self.automation = Automation(definitions)
        self._load()
        self.tick()

    # --- automation -------------------------------------------------------------------------------------------

    def _load(self, behind: Sequence[tuple[Event, ...]] = ()) -> None:
        self.automation.load(
            self.bits(),
            self.sets.states(),
            [ConditionChunk(*key, bits) for key, bits in self.chunks.items()],
            self.policies.rows(),
            self.looked_at,
            [event for events in behind for event in events],
        )

    def bits(self) -> dict[str, AssetBits]:
        """As the store gives them: partitions that are there."""
        found: dict[str, AssetBits] = {}
        busy = {(name, run.partition) for run in self.runs.values() for name, s in run.states.items() if s in ACTIVE}
        for asset in self.definitions.asset:
            live = self.partitions(asset)
            made = {p: made for (name, p), made in self.made.items() if name == asset and p in live}
            failed = (p for p, one in made.items() if (one.failed_seq or 0) > (one.materialized_seq or 0))
            found[asset] = AssetBits(
                BitMap(p for p, one in made.items() if one.materialized_seq is not None),
                BitMap(failed),
                BitMap(p for name, p in busy if name == asset and p in live),
                max((one.materialized_seq or 0 for one in made.values()), default=0),
                self.checked(asset, made),
            )
        return found

    def checked(self, asset: str, made: dict[int, Made]) -> CheckedBits:
        """Results of checks of all partitions together are those of 0."""
        results: dict[str, tuple[BitMap, BitMap]] = {}
        said = [(name, p, passed) for p, one in made.items() for name, passed in one.results.items()]
        said += [(name, 0, passed) for (of, name), passed in self.whole.items() if of == asset]
        for name, p, passed in said:
            results.setdefault(name, (BitMap(), BitMap()))[0 if passed else 1].add(p)
        return CheckedBits(BitMap(p for p, one in made.items() if one.held), results)

    def partitions(self, asset: str) -> set[int]:
        spec = self.definitions.asset[asset].partitions
        return {0} if spec is None else self.live[spec.name]

    def look(self, events: tuple[Event, ...]) -> None:
        self.settle(self.automation.evaluate(events, self.now), events)
        self.looked_at = events[-1].seq

    def tick(self) -> None:
        """The timer, now."""
        if not self.busy:
            self.settle(self.automation.timer(self.now), ())

    def settle(self, evaluation: Evaluation, events: tuple[Event, ...]) -> None:
        self.visited = evaluation.visited
        self.wake_at = evaluation.wake_at
        looked = Looked(events, {}, self.looked_at, None, self.memory())
        self.journal = [*self.journal[1 - _TAKEN_BACK :], looked]
        for chunk in evaluation.chunks:
            key = (chunk.asset, chunk.node, chunk.chunk)
            looked.chunks[key] = self.chunks.get(key)
            if chunk.bits:
                self.chunks[key] = chunk.bits
            else:
                self.chunks.pop(key, None)
        waves = [
            (request.assets, request.set, number)
            for request in evaluation.requests
            for number in ([request.partition] if isinstance(request.partition, int) else request.partition)
        ]
        assert len(waves) == len(set(waves))
        if waves:
            looked.waves = set(waves)
            self.asked.append(looked.waves)
            self.waves.extend(waves)

    def wait(self, seconds: float) -> None:
        """Time passes; timers fire when they are due. What they ask for is admitted at once."""
        end = self.now + seconds
        while self.wake_at is not None and self.wake_at <= end:
            self.now = max(self.now, self.wake_at)
            self.tick()
            self.admit()
        self.now = end

    def restart(self) -> None:
        """The daemon ends and starts: memory and facts come from what was committed, what ran is queued again, and
        what nobody has looked at is looked at."""
        self.journal.clear()
        for run in self.runs.values():
            for name, state in run.states.items():
                if state == "started":
                    run.states[name] = "queued"
        self.automation = Automation(self.definitions)
        self._load(self.unlooked)
        self.catch_up()

    def edit(self, definitions: Definitions) -> None:
        """Other definitions of the same sets are registered, before a restart."""
        self.definitions = definitions
        self.policies.edit(definitions)
        for (asset, _), made in self.made.items():
            made.held = made.held and asset in definitions.gates
        after = wiring(definitions)
        changed = [name for name, one in after.items() if self.wiring.get(name, one) != one]
        self.wiring |= after
        self.commit(*(self.event("rewired", asset=name) for name in changed))

    # --- falling behind ---------------------------------------------------------------------------------------

    def memory(self) -> Any:
        """What is remembered beside the chunks before an evaluation."""
        return None

    def fall_behind(self) -> None:
        """Transactions commit and nobody looks."""
        self.busy = True

    def catch_up(self) -> None:
        """Look at them, one after the other."""
        self.busy = False
        unlooked, self.unlooked = self.unlooked, []
        for events in unlooked:
            self.look(events)
        self.tick()

    def lose(self, count: int) -> list[Looked]:
        """The last `count` evaluations never committed: what they asked for and remembered is gone, and what they
        looked at is to be looked at."""
        lost = self.journal[len(self.journal) - count :]
        for one in reversed(lost):
            for key, bits in one.chunks.items():
                if bits is None:
                    self.chunks.pop(key, None)
                else:
                    self.chunks[key] = bits
            self.looked_at = one.looked_at
            self.asked = [waves for waves in self.asked if waves is not one.waves]
        self.journal.clear()
        self.unlooked[:0] = [one.events for one in lost if one.events]
        self.busy = True
        return lost

    # --- transactions -----------------------------------------------------------------------------------------

    def commit(self, *parts: dict[str, Any], look: bool = True) -> tuple[Event, ...]:
        if not parts:
            return ()
        if self.gathered is None:
            self.txn += 1
        events: list[Event] = []
        for part in parts:
            self.seq += 1
            events.append(Event(seq=self.seq, txn=self.txn, at=self.now, **part))
        if self.gathered is not None:
            self.gathered += events
        elif self.busy or not look:
            self.unlooked.append(tuple(events))
        else:
            self.look(tuple(events))
        return tuple(events)

    def together(self, *actions: Callable[[], object]) -> None:
        """What these commit is one transaction, as the outcome of a tick is."""
        self.txn += 1
        self.gathered = []
        for action in actions:
            action()
        events, self.gathered = tuple(self.gathered), None
        if events and self.busy:
            self.unlooked.append(events)
        elif events:
            self.look(events)

    def add(self, set_: str, *numbers: int, ranged: Spelling = "each", look: bool = True) -> tuple[Event, ...]:
        """Dynamic keys, by their numbers."""
        self.sets.txn = self.txn + (self.gathered is None)
        return self.commit(*self.sets.added(set_, numbers, ranged=ranged), look=look)

    def open(self, set_: str, count: int = 1, *, look: bool = True) -> tuple[Event, ...]:
        """Windows of a set in time close."""
        return self.commit(*self.sets.opened(set_, count), look=look)

    def use(self, set_: str, *places: tuple[int, ...], look: bool = True) -> tuple[Event, ...]:
        """Combinations get their numbers."""
        return self.commit(*self.sets.used(set_, places), look=look)

    def delete(self, set_: str, *numbers: int, ranged: Spelling = "each", look: bool = True) -> tuple[Event, ...]:
        """Dynamic keys, and their combinations."""
        parts, gone = self.sets.deleted(set_, numbers, ranged=ranged)
        for asset, of in self.set_of.items():
            for name, number in gone:
                if of == name:
                    self.made.pop((asset, number), None)
                    self.policies.forget([(asset, number)])
        return self.commit(*parts, look=look)

    def admit(self) -> list[Run]:
        """Commit what evaluations have asked for, one transaction for each."""
        admitted: list[Run] = []
        while self.asked:
            admitted += self.admit_first()
        return admitted

    def admit_first(self) -> list[Run]:
        """Commit what was asked for first, with the evaluation that did and those before it."""
        waves = self.asked.pop(0)
        place = next((index for index, one in enumerate(self.journal) if one.waves is waves), -1)
        del self.journal[: place + 1]
        return self.admit_runs(sorted(waves, key=str))

    def admit_runs(self, waves: Iterable[Wave], *, begin: bool = False) -> list[Run]:
        runs, parts = list[Run](), list[dict[str, Any]]()
        for assets, _, partition in waves:
            run = Run(len(self.runs) + 1, assets, partition, dict.fromkeys(assets, "queued"))
            self.runs[run.id] = run
            runs.append(run)
            self._active.append(run)
            for index, name in enumerate(assets):
                begins = begin and index == 0
                if begins:
                    run.states[name] = "started"
                parts.append(self.step(run, name, "started" if begins else "requested"))
        if parts:
            self.commit(*parts)
        return runs

    def request(self, *assets: str, partition: int = 0, begin: bool = False) -> Run:
        """A run by hand."""
        return self.admit_runs([(assets, None, partition)], begin=begin)[0]

    def ready(self, run: Run, asset: str) -> bool:
        above = [dep.asset for dep in self.definitions.asset[asset].deps if dep.asset in run.states]
        return run.states[asset] == "queued" and all(run.states[name] == "succeeded" for name in above)

    def start(self, run: Run, asset: str, *, look: bool = True) -> tuple[Event, ...]:
        run.states[asset] = "started"
        return self.commit(self.step(run, asset, "started"), look=look)

    def succeed(
        self, run: Run, asset: str, *, same: bool = False, held: bool = False, look: bool = True
    ) -> tuple[Event, ...]:
        """`same`: with the data that it had before; `held`: its blocking checks are still to come."""
        run.states[asset] = "succeeded"
        place = (asset, run.partition)
        if run.partition in self.partitions(asset):
            self.made.setdefault(place, Made()).anew(self.seq + 1, self.now, held=held)
            self.policies.renew(asset, run.partition, self.seq + 1)
        data = {**self.data(same, run.id), **({"held": True} if held else {})}
        return self.commit({**self.step(run, asset, "materialized"), "data": data}, look=look)

    def check(
        self, asset: str, partition: int, name: str, *, passed: bool, same: bool = False, stale: bool = False
    ) -> tuple[Event, ...]:
        """A check's result. One that fails holds what is materialized, of an asset with blocking checks, and one that
        passes lets it through. Of a partitioned asset, 0 is all partitions together."""
        data: dict[str, Any] = {"check": name}
        made = self.made.get((asset, partition))
        if stale:
            data["stale"] = True
        elif partition == 0 and self.definitions.asset[asset].partitions is not None:
            self.whole[asset, name] = passed
        elif partition in self.partitions(asset):
            made = self.made.setdefault((asset, partition), Made())
            made.results[name] = passed
            if asset in self.definitions.gates and made.materialized_seq is not None and not passed:
                made.held = data["held"] = True
            elif asset in self.definitions.gates and made.held:
                made.held = False
                data |= {"cleared": True, "same": True} if same else {"cleared": True}
        kind = "check_passed" if passed else "check_failed"
        return self.commit(self.event(kind, asset=asset, partition=partition, data=data))

    def fail(self, run: Run, asset: str, *, look: bool = True) -> tuple[Event, ...]:
        run.states[asset] = "failed"
        if run.partition in self.partitions(asset):
            self.made.setdefault((asset, run.partition), Made()).failed_seq = self.seq + 1
        parts = [self.step(run, asset, "failed")]
        lost = {asset}
        for name in run.assets:
            if run.states[name] == "queued" and any(dep.asset in lost for dep in self.definitions.asset[name].deps):
                lost.add(name)
                run.states[name] = "released"
                parts.append(self.step(run, name, "released"))
        return self.commit(*parts, look=look)

    def cancel(self, run: Run, *, look: bool = True) -> tuple[Event, ...]:
        names = [name for name in run.assets if run.states[name] in ACTIVE]
        for name in names:
            run.states[name] = "released"
        return self.commit(*(self.step(run, name, "released") for name in names), look=look)

    def report(self, asset: str, partition: int = 0, *, same: bool = False) -> None:
        """Made outside."""
        self.made.setdefault((asset, partition), Made()).anew(self.seq + 1, self.now, held=False)
        self.policies.renew(asset, partition, self.seq + 1)
        idle = self.idle(asset, partition)
        self.commit(self.event("materialized", asset=asset, partition=partition, idle=idle, data=self.data(same)))

    def recode(self, *assets: str, look: bool = True) -> tuple[Event, ...]:
        """Their code is another."""
        parts = [self.event("code_changed", asset=asset, data={"code_version": "another"}) for asset in assets]
        return self.commit(*parts, look=look)

    def freshness(self, asset: str, state: State, partition: int = 0) -> None:
        """`partition`: of a policy that holds for each."""
        names = {"fresh": "freshness_restored", "warn": "freshness_warned", "lapsed": "freshness_lapsed"}
        self.policies.become(asset, partition, state)
        self.commit(self.event(names[state], asset=asset, partition=partition))

    def run_all(self, limit: int = 1000) -> list[tuple[str, int]]:
        """Admit and run whatever there is until all is quiet; returns what was made, in order."""
        order: list[tuple[str, int]] = []
        for _ in range(limit):
            self.admit()
            step = next(((run, name) for run in self.active() for name in run.assets if self.ready(run, name)), None)
            if step is None:
                return order
            self.start(*step)
            self.succeed(*step)
            order.append((step[1], step[0].partition))
        raise AssertionError("it never ends")

    def active(self) -> list[Run]:
        """Runs with something queued or running, oldest first."""
        self._active = [run for run in self._active if any(state in ACTIVE for state in run.states.values())]
        return self._active

    # --- events -----------------------------------------------------------------------------------------------

    def idle(self, asset: str, partition: int) -> bool:
        return not any(run.partition == partition and run.states.get(asset) in ACTIVE for run in self.active())

    def step(self, run: Run, asset: str, kind: str) -> dict[str, Any]:
        return self.event(
            kind, asset=asset, partition=run.partition, run_id=run.id, idle=self.idle(asset, run.partition)
        )

    @staticmethod
    def data(same: bool, run: int = 0) -> dict[str, Any]:
        """The runs with odd ids have tags."""
        tags = {"tags": {"odd": "yes", "team": str(run % 4)}} if run % 2 else {}
        return {"begun": 1.0, **({"same": True} if same else {}), **tags}

    @staticmethod
    def event(kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, **fields}
