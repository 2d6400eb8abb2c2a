"""What a backfill asks for, and when: against plain sets, on random graphs."""

from __future__ import annotations

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap
from tests.backfill.worlds import BATCHES, REGIONS, STATES, Place, Plain, graphs

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.mapping import All
from freshet.engine.backfill.active import Active
from freshet.engine.backfill.marks import Marks, Progress
from freshet.engine.backfill.plan import NextRun, joined, next_runs
from freshet.engine.partitions.graph import PartitionGraph
from freshet.engine.partitions.sets import Sets
from freshet.store.records import BackfillRow, EndedStep, StepState

ROW = BackfillRow(1, "running", {}, 0, {}, 0, 0.0, None, None)


class Played:
    """A backfill played through: runs begin as they are asked for and end in any order."""

    def __init__(self, graph: PartitionGraph, wanted: dict[str, BitMap], bad: set[Place]) -> None:
        self.graph = graph
        self.plain = Plain(graph)
        self.bad = bad
        order = sorted(wanted, key=graph.definitions.position.__getitem__)
        self.active = Active(ROW, Progress({name: Marks.fresh(wanted[name]) for name in order}), 0.0)
        self.wanted = {(name, number) for name, numbers in wanted.items() for number in numbers}
        self.elsewhere = set[Place]()
        self.under_way: dict[int, NextRun] = {}
        self.done = set[Place]()
        self.failed = set[Place]()
        self.tried = list[Place]()
        self.ids = count(1)

    def begin(self, room: int) -> int:
        others = {name: BitMap(n for a, n in self.elsewhere if a == name) for name in self.active.marks}
        runs = next_runs(self.graph, self.active.marks, self.active.blocked, room, elsewhere=others)
        assert len(runs) <= room
        assert not {(name, run.partition) for run in runs for name in run.assets} & self.elsewhere
        assert list(runs) == sorted(runs, key=lambda run: (self._position(run.assets[0]), run.partition))
        for run in runs:
            for name in run.assets:
                self.active.progress.set(name, "asked", [run.partition])
        for run in runs:
            for index, name in enumerate(run.assets):
                self._may_begin((name, run.partition), set(run.assets[:index]))
            self.under_way[next(self.ids)] = run
        return len(runs)

    def end(self, run_id: int) -> None:
        run = self.under_way.pop(run_id)
        ended = dict[str, StepState]()
        for name in run.assets:
            needs = {dep.asset for dep in self.graph.definitions.asset[name].deps} & ended.keys()
            place = (name, run.partition)
            if any(ended[above] != "succeeded" for above in needs):
                ended[name] = "skipped"
                continue
            ended[name] = "failed" if place in self.bad else "succeeded"
            self.tried.append(place)
            (self.failed if place in self.bad else self.done).add(place)
        steps = [EndedStep(run_id, name, run.partition, state) for name, state in ended.items()]
        self.active.account(self.graph, steps, 1.0)
        marks = {name: (set(one.asked), set(one.done), set(one.failed)) for name, one in self.active.marks.items()}
        self.active.account(self.graph, steps, 1.0)  # as after a restart
        assert marks == {n: (set(one.asked), set(one.done), set(one.failed)) for n, one in self.active.marks.items()}

    def _may_begin(self, place: Place, in_run: set[str]) -> None:
        assert place in self.wanted
        for name in self.plain.deps(place[0]):
            needed = self.plain.above(place, name) & self.wanted
            if name in in_run:
                needed -= {(name, place[1])}
            assert needed <= self.done, "something above it is not done"

    def _position(self, name: str) -> int:
        return self.graph.definitions.position[name]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), graph=graphs())
def test_everything_is_asked_for_once_and_in_order(data: st.DataObject, graph: PartitionGraph) -> None:
    live = [(name, number) for name in graph.definitions.order for number in graph.live(name)]
    places = st.sets(st.sampled_from(live))
    chosen = data.draw(st.one_of(st.just(set(live)), places), label="wanted")
    bad = data.draw(st.one_of(st.just(set[Place]()), places), label="bad") & chosen
    wanted = {name: BitMap(n for a, n in chosen if a == name) for name in graph.definitions.order}
    played = Played(graph, {name: numbers for name, numbers in wanted.items() if numbers}, bad)
    played.elsewhere = data.draw(st.one_of(st.just(set[Place]()), places), label="in runs of others")
    while True:
        begun = played.begin(data.draw(st.integers(1, 4)))
        if not played.under_way:
            assert not begun
            if not played.elsewhere:
                break
            played.elsewhere.remove(data.draw(st.sampled_from(sorted(played.elsewhere))))
            continue
        played.end(data.draw(st.sampled_from(sorted(played.under_way))))
    assert len(played.tried) == len(set(played.tried)), "tried once"
    unmade = played.plain.unmade(played.wanted, played.failed)
    assert played.wanted - played.done - played.failed == unmade, "left out is what lies below failures, and no more"
    blocked = {(name, number) for name, numbers in played.active.blocked.items() for number in numbers}
    assert blocked == unmade
    state, error = played.active.outcome()
    assert (state == "succeeded") == (not played.failed) == (error is None)


def graph_of(*assets: AssetSpec) -> PartitionGraph:
    definitions = Definitions(assets=assets)
    return PartitionGraph(definitions, Sets(definitions, STATES))


def test_what_maps_several_is_blocked_by_one_of_them_and_not_by_what_is_not_wanted() -> None:
    graph = graph_of(
        AssetSpec("parts", partitions=REGIONS),
        AssetSpec("whole", deps=(DepSpec("parts", mapping=All()),), partitions=BATCHES),
        AssetSpec("report", deps=(DepSpec("whole", mapping=All()),)),
    )
    wanted = {"parts": BitMap([1, 2]), "whole": BitMap([1]), "report": BitMap([0])}
    played = Played(graph, wanted, {("parts", 1)})
    assert played.begin(1) == 1
    played.end(1)
    assert played.active.blocked == {"whole": BitMap([1]), "report": BitMap([0])}
    again = Played(graph, {**wanted, "parts": BitMap([2])}, set())
    for number in (1, 2, 3):
        assert again.begin(8) == 1
        again.end(number)
    assert again.active.outcome() == ("succeeded", None), "the part that is not wanted does not matter"


def test_a_chain_goes_in_one_run_a_partition() -> None:
    graph = graph_of(
        AssetSpec("raw", partitions=BATCHES),
        AssetSpec("clean", deps=(DepSpec("raw"),), partitions=BATCHES),
        AssetSpec("total", deps=(DepSpec("clean", mapping=All()),)),
    )
    marks = {name: Marks.fresh(graph.live(name).copy()) for name in ("raw", "clean", "total")}
    runs = next_runs(graph, marks, {}, 3)
    assert runs == tuple(NextRun(("raw", "clean"), "batches", number) for number in (1, 2, 4))
    assert joined(graph, marks) == [("raw", "clean"), ("total",)]


def test_two_roots_that_meet_below_share_the_run() -> None:
    graph = graph_of(
        AssetSpec("one", partitions=BATCHES),
        AssetSpec("other", partitions=BATCHES),
        AssetSpec("both", deps=(DepSpec("one"), DepSpec("other")), partitions=BATCHES),
    )
    marks = {name: Marks.fresh(BitMap([1, 2])) for name in graph.definitions.order}
    assert [set(run.assets) for run in next_runs(graph, marks, {}, 8)] == [{"one", "other", "both"}] * 2
