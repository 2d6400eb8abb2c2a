"""Faults put into the evaluation by hand, one for each decision that a scene alone might not guard."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from freshet.engine.automation import (
    agenda,
    automation,
    coming,
    deadlines,
    lapse,
    lapses,
    lasting,
    look,
    moment,
    operands,
    operators,
    pace,
    program,
    ready,
    replay,
    state,
    timed,
    verdicts,
)
from freshet.engine.partitions.order import Order

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True)
class Mutant:
    """`found`, a piece of a function's text, is `put` in another way."""

    name: str
    function: Callable[..., Any]
    found: str
    put: str

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def at_work(self) -> Generator[None]:
        """The function's code is exchanged, whoever has imported it."""
        function = self.function
        assert isinstance(function, FunctionType)
        text = textwrap.dedent(inspect.getsource(function))
        assert text.count(self.found) == 1, f"{self.name}: the text has changed, say anew what to put into it"
        names: dict[str, Any] = {}
        made = f"from __future__ import annotations\n{text.replace(self.found, self.put)}"
        exec(compile(made, self.name, "exec"), function.__globals__, names)  # our own text
        sound = function.__code__
        function.__code__ = names[function.__name__].__code__
        try:
            yield
        finally:
            function.__code__ = sound


def _of(cls: type[object], name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = cls.__dict__[name]
    return found


_Automation = automation.Automation
_risen, _passes, _run, _gather = (_of(_Automation, name) for name in ("_risen", "_passes", "_run", "_gather"))
_forget, _evaluate = _of(_Automation, "_forget"), _of(_Automation, "evaluate")
_spread, _came, _descend = (_of(agenda.Agenda, name) for name in ("spread", "came", "_descend"))
_among, _refresh = _of(coming.Coming, "_among"), _of(coming.Coming, "refresh")
_several, _single, _refreshed = (vars(ready)[name] for name in ("_several", "_single", "_being_refreshed"))
_membership, _freshness, _step = (vars(moment)[name] for name in ("_membership", "_freshness", "_step"))
_since, _newly_true, _every_dep = (vars(operators)[name] for name in ("_since", "_newly_true", "_every_dep"))
_OWN_LOOK = "if number == 0 and not (fades or look.leant or look.joined - asked):"

MUTANTS = (
    # what is looked at
    Mutant("a lapsed policy moves nobody", _spread, "unsettled or world.levels(asset).lapsed", "unsettled"),
    Mutant("a policy that changes moves nobody", _spread, "unsettled or world", "world"),
    Mutant("what is below is left alone", _descend, "self._add_below(edge, reached, unmoved=unmoved)", "pass"),
    Mutant("what lies far below a failure is left alone", _descend, "topology.above_fan_ins", "()"),
    Mutant("what begins to move is left alone", _came, "if coming:", "if False:"),
    Mutant("what moves no longer is left alone", _came, "if gone := partitions - coming:", "if gone := BitMap():"),
    Mutant("what is asked for makes nothing come", _run, "agenda.came(self._coming.refresh({asset: asked}))", "pass"),
    Mutant("the newest after it is left alone", _gather, "bool(pulses.added) or asset in moment.deleted", "False"),
    Mutant("what depends on other partitions is left alone", _gather, "in moment.shifted", "in ()"),
    Mutant("the newest before it is left alone", _membership, "numbers | newest", "numbers"),
    Mutant("what is asked for moves nothing below", _run, "agenda.spread(asset, asked)", "pass"),
    Mutant("only what is named above is remembered", _of(look.Look, "above"), "| touched) & live", ") & live"),
    Mutant("pulses never end", _passes, _OWN_LOOK, "if number == 0:"),
    Mutant("what was true for a moment stays so", _passes, "(program.fading and true)", "False"),
    Mutant("what nothing depends on is not remembered", _descend, "self._moment.touch(below, reached)", "pass"),
    Mutant(
        "a deadline stays after its reason",
        _of(deadlines.Deadlines, "next"),
        "and self._memory[asset].waits_for(when, instant=instant)",
        "",
    ),
    Mutant("who is named moves nobody", _descend, "topology.followers(name)", "topology.below.get(name, ())"),
    Mutant("what is named makes nothing come", _refresh, "topology.followers(asset)", "topology.below.get(asset, ())"),
    # what holds back
    Mutant("a shared run holds softly", _single, "_moving(levels, asked_for) - shared", "_moving(levels, asked_for)"),
    Mutant("a shared run holds hard", _single, "levels.usable - shared,", "levels.usable,"),
    Mutant("what is below a failure holds", _several, "stuck -= below_failure(look, edge.asset, stuck)", "pass"),
    Mutant("what is on its way holds hard", _several, "named - there - moving", "named - there"),
    Mutant("what is on its way holds nothing", vars(ready)["_moving"], "if levels.coming", "if False"),
    Mutant("only what is missing comes", _among, 'if self._reactions[asset] == "missing":', "if True:"),
    Mutant("whatever is automated follows updates", _among, 'if self._reactions[asset] == "missing":', "if False:"),
    Mutant("what comes makes nothing come", _refresh, "below(asset, toggled)", "pass"),
    Mutant("untried parts hold nothing", _several, "| world.depending(edge, stuck, asked_for)", ""),
    Mutant("what has no dependency is held", _several, "world.having(edge, asked_for)", "asked_for"),
    Mutant("a wait begins anew", ready.when_deps_ready, "soft - waits.known(soft)", "soft"),
    Mutant("a wait outlives its reason", ready.when_deps_ready, "waits.clear(scope.candidates - asked_for)", "pass"),
    Mutant("a refresh above holds what joins it", _refreshed, "held - joined", "held"),
    Mutant(
        "only what runs is being refreshed",
        lapses.refreshed_above,
        "(levels.in_progress or levels.asked)",
        "levels.in_progress",
    ),
    Mutant("failures do not pass several", vars(ready)["_below_failure"], "if edge.several:", "if False:"),
    Mutant("quiet lasts", pace.unquiet, "quiet.clear(scope.candidates - asked_for)", "pass"),
    Mutant("storms are never told", pace.unquiet, "min(value + 1, float(MAX_LEVEL))", "value"),
    # what is remembered
    Mutant(
        "a trigger wins over its reset",
        _since,
        "scope.candidates) | trigger) - reset",
        "scope.candidates) - reset) | trigger",
    ),
    Mutant("a reset is not remembered", _since, "scope.candidates, held)", "held, held)"),
    Mutant("always newly true", _newly_true, "now - look.memory.get(key)", "now"),
    Mutant("a mark outlives the start", _risen, "memory.remove(program.mark_key, look.pulses(scope).handled)", "pass"),
    Mutant("what is queued is marked too", _risen, "- levels.queued - levels.asked", ""),
    Mutant("a failure outlives success", _of(state.Levels, "made"), "self.failed.discard(partition)", "pass"),
    Mutant("a queued run let go handles nothing", _step, "if event.idle and partition in levels.queued:", "if False:"),
    Mutant("data that is the same is another", _step, 'if not (data and data.get("same")):', "if True:"),
    Mutant("other code moves nothing", moment.apply, 'pulses.touched |= world.live(event.asset or "")', "pass"),
    Mutant("other code is none", moment.apply, "pulses.code = True", "pass"),
    Mutant("who waits for other data does not follow", vars(program)["_reacts"], "in _UPDATES", "== _UPDATES[0]"),
    Mutant(
        "a report handles nothing",
        _step,
        "pulses.reported.add(partition)\n            pulses.handled",
        "pulses.reported",
    ),
    Mutant(
        "a start is no request",
        _step,
        'kind == "requested" or partition not in levels.in_progress',
        'kind == "requested"',
    ),
    # times
    Mutant("instants are late", _evaluate, "self._deadlines.next(instant=True)", "None"),
    Mutant("times go by the clock", timed.debounce, "look.moment.time", "look.moment.now"),
    Mutant("what it was is no more", timed.recently, "ends.put(_after(look, condition.within), ended)", "pass"),
    Mutant("what has ended ends again", timed.recently, "(true | ends", "(ends"),
    Mutant("what comes again waits no longer", timed.debounce, "came - quiet.known(came)", "came"),
    Mutant("what is no more waits on", timed.debounce, "over | (lasts - true)", "over"),
    Mutant("what is no more counts on", timed.batch, "over | (lasts - true)", "over"),
    Mutant("a full batch waits on", timed.batch, "first.clear(full)", "pass"),
    Mutant(
        "what is asked for is in progress",
        vars(operands)["_in_progress"],
        "if scope.path else scope.candidates & levels.in_progress",
        "",
    ),
    Mutant("nothing comes true again", vars(timed)["_came"], "came = came | (true", "came | (true"),
    Mutant("what lasts comes true again", vars(timed)["_came"], "- lasting(look, trigger, scope)", ""),
    Mutant("what lasts is for a moment", timed.batch, "lasting(look, node.kids[0], scope)", "BitMap()"),
    Mutant("what is for a moment lasts", timed.debounce, "lasting(look, node.kids[0], scope)", "scope.candidates"),
    Mutant("all of none is for a moment", lasting.lasting, "look.world.having(edge, found)", "found"),
    # restarts
    Mutant("what moved behind is left alone", _run, "in self._moved:", "in ():"),
    Mutant(
        "what comes is there too early", replay.rewind, "world.hide(event.set, BitMap(event.numbers) - known)", "pass"
    ),
    Mutant("what goes in the end comes before", replay.rewind, "world.bury(gone, last)", "pass"),
    Mutant("what went is left alone", replay.rewind, "for name, went in shrunk.items():", "for name, went in ():"),
    Mutant("a report ends a run", vars(replay)["_step"], "if reported or", "if"),
    Mutant("what was asked for is asked again", vars(replay)["_step"], "levels.asked.add(partition)", "pass"),
    Mutant("what ends was not under way", vars(replay)["_step"], "else bits.add)", "else bits.discard)"),
    Mutant(
        "what runs stays running",
        _of(state.World, "load"),
        "flying.copy(), flying.copy()",
        "flying.copy(), BitMap()",
    ),
    Mutant(
        "a lapse that ended is loaded",
        _of(state.World, "load"),
        "and policy.baseline_seq <= committed_for",
        "",
    ),
    Mutant("a key that is known comes last again", _of(Order, "added"), "known.txn < txn", "True"),
    # partitions that go
    Mutant("memory outlives its partition", _forget, "self._memory[name].forget(path_owner, gone)", "pass"),
    Mutant("memory below outlives its partition", _forget, "path_owner = asset", 'path_owner = "-"'),
    Mutant("facts outlive their partition", _membership, "levels.forget(numbers)", "pass"),
    Mutant("what is gone was newly made", _membership, "bits -= numbers", "pass"),
    # dependencies and lapses
    Mutant("all must have each dependency", _every_dep, "look.world.having(edge, found)", "found"),
    Mutant("one lapse above is not enough", vars(lapses)["_below"], "if any(0 in", "if all(0 in"),
    Mutant("whoever is asked for shares", vars(operands)["_will_be_requested"], "or not scope.joins", ""),
    Mutant("a lapse counts for all partitions", vars(lapses)["_below"], "world.newest(asset)", "world.live(asset)"),
    Mutant("a partition's lapse goes no further", vars(lapses)["_reached"], "else known[edge.asset]", "else EMPTY"),
    Mutant("ways that change are left alone", _spread, "remapped and self._below_lapses(asset)", "False"),
    Mutant(
        "what goes with its lapse is left alone",
        _membership,
        "pulses.unsettled = True",
        "pass",
    ),
    Mutant(
        "one success answers every lapse", lapse.lapse_unserved, "done & (memory.get(trying) | pulses.reported)", "done"
    ),
    Mutant("a new episode has no new attempts", lapse.lapse_unserved, "tries.clear(above)", "pass"),
    Mutant("a cancel exhausts nothing", lapse.lapse_unserved, "tries.put(float(lapse.attempts + 1), canceled)", "pass"),
    Mutant(
        "a failure backs off no longer than the first",
        lapse.lapse_unserved,
        "float(2 ** min(int(count), lapse.attempts))",
        "1.0",
    ),
    # checks
    Mutant("what is held has arrived", vars(operands)["_newly_updated"], "pulses.arrived if scope.path else ", ""),
    Mutant("what is held is there", vars(operands)["_missing"], "levels.usable if scope.path else ", ""),
    Mutant("what is held does not hold one below", vars(ready)["_single"], "- levels.usable", "- levels.materialized"),
    Mutant(
        "what is held holds all below", vars(ready)["_below_failure"], "levels.failed | levels.held", "levels.failed"
    ),
    Mutant("a check's result outlives its data", state.Levels.made, "passed.discard(partition)", "pass"),
    Mutant("what is let through lapses", vars(moment)["_check"], "pulses.cleared.add(partition)", "pass"),
    Mutant("a check of the whole speaks of nothing", vars(verdicts)["_marked"], "if 0 in bits", "if False"),
    Mutant("what was imported is of all", vars(verdicts)["_verdict"], "passed | failed if is_imported(name) else ", ""),
    Mutant("a first look at a lapse is none", lapses.newly_lapsed_above, "if look.first", "if False"),
)
