"""The automation ticker's decisions: conditions over partitions, one committed transaction at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from pyroaring import BitMap

from freshet.definitions.condition import AutomationCondition
from freshet.definitions.graph import Definitions
from freshet.definitions.names import nearest_hint
from freshet.definitions.renames import renames
from freshet.engine.automation.agenda import Agenda, Watchers
from freshet.engine.automation.alike import Alike
from freshet.engine.automation.causes import Causes
from freshet.engine.automation.clockwork import Clockwork
from freshet.engine.automation.coming import Coming
from freshet.engine.automation.deadlines import Deadlines
from freshet.engine.automation.downstream import written_out
from freshet.engine.automation.evaluation import Evaluation, Told
from freshet.engine.automation.explain import Explanation, Standing, explain, standing
from freshet.engine.automation.lapse import spent_of
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.memory import Memory, rename
from freshet.engine.automation.moment import Moment, apply
from freshet.engine.automation.operators import value
from freshet.engine.automation.outcomes import Key, Outcomes
from freshet.engine.automation.program import Node, Program, heeded, programs_of
from freshet.engine.automation.renamed import carry
from freshet.engine.automation.replay import rewind
from freshet.engine.automation.state import EMPTY, ONE, AssetCounts, World
from freshet.engine.automation.wanted import wanted
from freshet.engine.automation.waves import waves
from freshet.errors import UnknownName
from freshet.store.records import AssetBits, ConditionChunk, Event, FreshnessRow, SetState

__all__ = ["Automation"]

_PASSES = 8


class Automation:
    """All conditions, their memory, and the facts they read.

    After `load` and `redefine`, `timer(now)` looks at what has never been looked at. Then `evaluate` takes one
    committed transaction after the other; the same transactions give the same requests, whatever restarts lie
    between. The rows given to `load` may be ahead of `seq`: the transactions after it are evaluated (again), reading
    some facts earlier than they came about (`replay.rewind`); what they end in is the same.

    How a look goes. Facts move on by the transaction's events. Assets below what happened are visited in dependency
    order, each with the partitions concerned, so that what a look asks for above is seen below (`will_be_requested`,
    and what waits for it). Where the end of `newly_...`, or of what is being asked for, can itself make something true,
    the asset is looked at once more at rest, until nothing changes (8 times at most). A partition whose condition has
    become true is requested, unless a run of it is queued (the request joins it) or running (it is marked and requested
    when that ends).
    """

    def __init__(self, definitions: Definitions) -> None:
        self._world = World(definitions)
        self._memory: dict[str, Memory] = {}
        self._deadlines = Deadlines(self._memory)
        self._programs: dict[str, Program] = {}
        self._known: dict[AutomationCondition, Program] = {}
        self._pruned: set[str] = set()
        self._causes = Causes()
        self._moved: list[tuple[Moment, Mapping[str, BitMap]]] = []
        self._seq = 0
        self._told: list[Told] = []
        self._clockwork = Clockwork(lambda asset: self._programs.get(asset), self._memory_of)
        self._adopt(definitions)

    # --- definitions and state --------------------------------------------------------------------------------

    def load(
        self,
        bits: Mapping[str, AssetBits],
        sets: Mapping[str, SetState],
        chunks: Iterable[ConditionChunk],
        freshness: Iterable[FreshnessRow],
        seq: int,
        behind: Iterable[Event] = (),
    ) -> None:
        """Replace all facts and memory by what the store holds: assets and sets by name. `seq`: of the last transaction
        whose evaluation is committed. `behind`: the events after it, in order, which are going to be evaluated; they
        tell which runs were under way before them."""
        self._world.load(bits, sets, freshness)
        moved = rewind(self._world, behind)
        self._memory.clear()
        self._deadlines.clear()
        self._seq = seq
        for chunk in chunks:
            self._memory_of(chunk.asset).load(chunk.node, chunk.bits)
        coming = self._coming.rebuild()
        self._moved = [(moved, coming if moved.pulses else {})]
        self._prune()

    def redefine(
        self,
        definitions: Definitions,
        sets: Mapping[str, SetState] | None = None,
        moved: Collection[str] = (),
        renamed: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Take new definitions into force. Facts are kept by the asset's name, memory by name and expression. `sets`:
        those to add or replace; `moved`: assets of which nothing is known any more, since their numbers mean something
        else; `renamed`: new names by the old ones."""
        self._world.redefine(definitions, sets or {}, moved, renamed)
        rename(self._memory, moved, renamed)
        self._pruned.clear()
        self._adopt(definitions)
        self._prune()

    def _adopt(self, definitions: Definitions) -> None:
        self._names = renames(definitions.assets)
        self._programs, self._known = programs_of(written_out(definitions), self._known)
        self._watchers = Watchers(self._world, self._programs)
        self._max_depth, self._world.latest_counts, self._world.starts_count = heeded(self._known.values())
        self._coming = Coming(self._world, self._programs)
        self._coming.rebuild()
        self._outcomes = Outcomes(self._world, self._programs)
        self._new = self._unseen()

    def _prune(self) -> None:
        carry(self._memory, self._programs, self._names)
        for asset, memory in self._memory.items():
            memory.keep(partial(wanted, self._world.topology, asset, self._programs.get(asset)))
            self._pruned.add(asset)
        self._new = self._unseen()
        self._clockwork.clear()
        for asset in [name for name, one in self._programs.items() if one.crons and name not in self._new]:
            self._clockwork.begin(asset, None)

    def _unseen(self) -> dict[str, None]:
        """As a set that keeps the order of the programs, which is that of the graph, turned round."""
        return {
            asset: None
            for asset, program in self._programs.items()
            if (memory := self._memory.get(asset)) is None or not memory.get(program.first_key)
        }

    def _forget(self, asset: str, gone: BitMap) -> None:
        """Deleted partitions leave nothing behind, neither in their asset's memory nor in that of those below."""
        reach, path_owner = {asset}, ""
        for _ in range(self._max_depth + 1):
            for name in reach & self._memory.keys():
                self._memory[name].forget(path_owner, gone)
                self._pruned.add(name)
            reach = {edge.below for name in reach for edge in self._world.topology.followers(name)}
            path_owner = asset

    def _memory_of(self, asset: str) -> Memory:
        if asset not in self._memory:
            self._memory[asset] = Memory(asset, self._deadlines.put)
        return self._memory[asset]

    # --- evaluation -------------------------------------------------------------------------------------------

    def evaluate(self, events: Sequence[Event], now: float) -> Evaluation:
        """Look at one committed transaction, and at whatever a deadline has come for: first at the instants that had
        passed when it was committed; at those after it only when the timer says so."""
        instants = self._clockwork.next(), self._deadlines.next(instant=True)
        before = None
        if events and any(instant is not None and instant <= events[0].at for instant in instants):
            before = self._run(Moment(now, at=events[0].at, late=True), until=events[0].at)
        self._seq = max(self._seq, events[-1].seq) if events else self._seq
        moment = apply(self._world, events, now)
        moment.late = Causes.late(events)
        for asset, gone in moment.deleted.items():
            self._forget(asset, gone)
        after = self._run(moment)
        return after if before is None else after.following(before)

    def timer(self, now: float) -> Evaluation:
        """Look at what a deadline has come for, and at conditions that are new."""
        return self._run(Moment(now, late=True), until=now)

    def _run(self, moment: Moment, *, until: float = -math.inf) -> Evaluation:
        self._told = []
        agenda = Agenda(self._world, moment, self._programs.get, self._watchers, self._max_depth)
        agenda.add_whole(self._new)
        for moved, came in self._moved:
            self._gather(agenda, moved)
            agenda.came(came)
        self._moved.clear()
        self._gather(agenda, moment)
        for instant, time in ((False, moment.now), (True, moment.time)):
            for asset in self._deadlines.come(time, instant=instant):
                if asset in self._programs:
                    memory = self._memory_of(asset)
                    above = memory.due_above(time, instant=instant)
                    for name in above:
                        moment.touch(name, self._world.live(name))
                    agenda.add(asset, self._world.live(asset) if above else memory.due(time, instant=instant))
        moment.ticked = self._clockwork.passed(until)
        for asset in moment.ticked:
            agenda.add(asset, self._world.live(asset))
        seen, alike = set[str](), Alike(self._world, moment)
        while (due := agenda.pop()) is not None:
            asset, candidates = due
            if asset in self._new and self._follows(asset, alike):
                moment.visited += 1
                continue
            seen.add(asset)
            self._causes.looked(self._world, moment, asset, candidates)
            asked = self._look(moment, asset, candidates, alike)
            if before := self._causes.before(moment, asset, asked):
                moment.before[asset] = before
            if asked:
                moment.asked[asset] = asked
                agenda.spread(asset, asked)
                agenda.came(self._coming.refresh({asset: asked}))
        for asset in self._new.keys() & seen:
            self._clockwork.begin(asset, moment.now)
            del self._new[asset]
        changed, self._pruned = sorted(one for one in seen | self._pruned if self._memory[one].unsaved), set[str]()
        chunks = (*alike.chunks, *(chunk for asset in changed for chunk in self._memory[asset].flush(asset)))
        return Evaluation(
            self._seq,
            waves(self._world.topology, moment.asked),
            chunks,
            moment.visited,
            self._wake_at(moment),
            tuple(self._told),
            moment.before,
        )

    def _gather(self, agenda: Agenda, moment: Moment) -> None:
        changed: dict[str, BitMap] = {}
        for asset, pulses in moment.pulses.items():
            touched = pulses.touched
            if remapped := bool(pulses.added) or asset in moment.deleted:
                touched = touched | self._world.newest(asset)
            changed |= {asset: touched} if touched else {}
            agenda.happened(asset, touched, pulses.begun, unsettled=pulses.unsettled, remapped=remapped)
        for asset in moment.shifted:
            changed[asset] = self._world.live(asset)
            agenda.happened(asset, changed[asset], remapped=True)
        agenda.rewired(moment.rewired)
        if self._world.relinked:
            self._world.relinked = False
            agenda.came(self._coming.rebuild())
        else:
            agenda.came(self._coming.refresh(changed))

    def _follows(self, asset: str, alike: Alike) -> bool:
        """Whether a new asset has come to remember, without a look, what others of its kind do."""
        if asset in self._memory or not alike.known(kind := alike.kind(asset, self._programs[asset])):
            return False
        alike.follow(kind, asset, self._memory_of(asset))
        del self._new[asset]
        return True

    def _look(self, moment: Moment, asset: str, candidates: BitMap, alike: Alike) -> BitMap:
        program, first = self._programs[asset], asset in self._new
        kind = alike.kind(asset, program) if first and asset not in self._memory else None
        memory = self._memory_of(asset)
        if not first and 0 in candidates and (key := self._outcomes.key(moment, asset, memory)) is not None:
            return self._known_look(key, moment, asset, candidates, memory)
        asked = self._passes(moment, asset, candidates, first)
        if first:
            memory.add(program.first_key, ONE)
            if kind is not None and not asked:
                alike.learn(kind, asset, memory)
        return asked

    def _known_look(self, key: Key, moment: Moment, asset: str, candidates: BitMap, memory: Memory) -> BitMap:
        known = self._outcomes.follow(key, moment, asset, memory)
        if known is not None:
            return ONE if known else EMPTY
        before = memory.waiting()
        asked = self._passes(moment, asset, candidates, False)
        self._outcomes.learn(key, moment, memory, asked, before)
        return asked

    def _passes(self, moment: Moment, asset: str, candidates: BitMap, first: bool) -> BitMap:
        program, memory, asked = self._programs[asset], self._memory_of(asset), BitMap()
        for number in range(_PASSES):
            before = memory.changes
            ticked = moment.ticked.get(asset, frozenset())
            look = Look(self._world, moment, memory, program, number == 0, first, ticked)
            scope = Scope(asset, candidates)
            risen, rising = _true_of(look, program.kept, scope), _true_of(look, program.rising, scope)
            true = risen | rising
            self._tell(asset, look)
            if program.rising:
                risen = risen | self._risen(look, scope, rising)
            fresh = risen - self._world.levels(asset).in_flight(risen) - moment.of(asset).stopped
            if fresh:
                self._world.change(asset).asked |= fresh
                asked |= fresh
            fades = program.restless or (program.fading and true)
            if number == 0 and not (fades or look.leant or look.joined - asked):
                break
            if number and memory.changes == before:
                break
        return asked

    def _tell(self, asset: str, look: Look) -> None:
        set_name = self._world.topology.set_of.get(asset)
        if look.exhausted:
            self._told.append(Told("refresh_exhausted", asset, look.exhausted, set_name))
        if look.recovered:
            self._told.append(Told("refresh_recovered", asset, look.recovered, set_name))

    def _risen(self, look: Look, scope: Scope, true: BitMap) -> BitMap:
        """What has become true, and what was marked while it ran and runs no more."""
        memory, program, levels = look.memory, look.program, look.levels(scope)
        risen = true - memory.get(program.root_key)
        memory.assign(program.root_key, scope.candidates, true)
        memory.remove(program.mark_key, look.pulses(scope).handled)
        flying = levels.in_flight(scope.candidates)
        marked = (memory.get(program.mark_key) & scope.candidates) - flying
        memory.add(program.mark_key, (risen & flying) - levels.queued - levels.asked)
        memory.remove(program.mark_key, marked)
        return risen | marked

    def _wake_at(self, moment: Moment) -> float | None:
        times = (
            self._deadlines.next(instant=False, after=moment.now),
            self._deadlines.next(instant=True, after=moment.time),
            self._clockwork.next(),
        )
        return min((when for when in times if when is not None), default=None)

    # --- questions --------------------------------------------------------------------------------------------

    def summary(self, asset: str) -> AssetCounts:
        """How many partitions an asset has, and in which state. Raises `UnknownName`."""
        self._check(asset)
        return replace(self._world.counts(asset), exhausted=len(self.exhausted(asset)))

    def in_state(self, asset: str, state: str) -> BitMap:
        """The live partitions in a state, see `World.in_state`. Raises `UnknownName`."""
        self._check(asset)
        return self._world.in_state(asset, state)

    def in_flight(self, asset: str) -> BitMap:
        """The partitions that are queued, running or asked for."""
        levels = self._world.levels(asset)
        return levels.in_progress | levels.asked

    def exhausted(self, asset: str) -> BitMap:
        """The partitions whose refresh on a lapse has no attempts left. Raises `UnknownName`."""
        self._check(asset)
        program, memory = self._programs.get(asset), self._memory.get(asset)
        return BitMap() if program is None or memory is None else spent_of(memory, program)

    def explain(self, asset: str, partition: int, now: float) -> Explanation | None:
        """The condition of one partition, node by node, as it stands; None for an asset without a condition.

        Raises `UnknownName` for an asset that the definitions do not name.
        """
        self._check(asset)
        program = self._programs.get(asset)
        return (
            None
            if program is None
            else explain(self._at_rest(asset, program, now), program.root, _one(asset, partition))
        )

    def standings(self, asset: str, partition: int, now: float) -> tuple[Standing, ...]:
        """How the dependencies of one partition stand. Raises `UnknownName`."""
        self._check(asset)
        program = self._programs.get(asset) or Program(AutomationCondition.missing())
        look = self._at_rest(asset, program, now)
        return tuple(standing(look, _one(asset, partition), edge) for edge in self._world.topology.edges[asset])

    def _at_rest(self, asset: str, program: Program, now: float) -> Look:
        """Between two transactions; what it changes is forgotten."""
        memory = self._memory[asset].copy() if asset in self._memory else Memory()
        return Look(self._world, Moment(now), memory, program, False, False)

    def digest(self, asset: str) -> str | None:
        """Which condition an asset has: equal ones have the same; None for one without."""
        return None if (program := self._programs.get(asset)) is None else program.digest

    def expressions(self, assets: Iterable[str]) -> dict[str, str]:
        """The conditions of assets, by digest."""
        programs = {program.digest: program for asset in assets if (program := self._programs.get(asset)) is not None}
        return {digest: program.text for digest, program in programs.items()}

    def _check(self, asset: str) -> None:
        if asset not in self._world.topology.set_of:
            raise UnknownName(f"there is no asset {asset!r}", hint=nearest_hint(asset, self._world.topology.set_of))


def _true_of(look: Look, nodes: Iterable[Node], scope: Scope) -> BitMap:
    """Of which at least one of these is true."""
    found = EMPTY
    for node in nodes:
        found = found | value(look, node, scope)
    return found


def _one(asset: str, partition: int) -> Scope:
    return Scope(asset, BitMap([partition]))
