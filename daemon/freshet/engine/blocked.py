"""Why no step of a run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from freshet.engine.queue import Gate, RateGate

if TYPE_CHECKING:
    from freshet.engine.engine import Engine

__all__ = ["Blocked", "BlockedKind", "blocked"]

BlockedKind = Literal["daemon", "executor", "overlap", "pause", "pool", "rate", "retry", "run", "runs", "step", "tag"]
"""What holds a run up. `daemon`: it starts nothing now; `executor`: all its slots are taken; `overlap`: another run
makes the same; `pause`: of a pool; `pool`, `rate`: of a pool; `retry`: a step's back-off; `run`: runs that go before
it, or that its steps have asked for; `runs`, `tag`: limits of runs; `step`: steps above it in the same run."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """What holds a run up, `name`d where it has a name (a pool, a tag's `key=value`, an asset or job, an executor, or
    the number of a run), and the same in words."""

    kind: BlockedKind
    name: str | None
    text: str


def blocked(engine: Engine, run_id: int) -> Blocked | None:
    """None while a step of the run is under way, and nothing of it waits."""
    launcher = engine.launcher
    if any(step_id[0] == run_id and not launcher.sub_runs.rests(step_id) for step_id in launcher.running):
        return None
    if below := launcher.sub_runs.waited_for(run_id):
        return Blocked("run", str(below[0]), _waits_for(below))
    if any(step_id[0] == run_id for step_id in launcher.retry_at):
        when = min(at for step_id, at in launcher.retry_at.items() if step_id[0] == run_id)
        left = max(0.0, when - engine.instruments.clock.now())
        return Blocked("retry", None, f"tried again in {left:.1f} s")
    if not launcher.queue.waits(run_id):
        return None
    if not launcher.queue.open:
        return Blocked("daemon", None, engine.problem or "the daemon is stopping")
    if (before := launcher.queue.behind(run_id)) is not None:
        return Blocked("run", str(before), f"waits until run {before} has ended")
    if (made := launcher.queue.made_by(run_id)) is not None:
        name, maker = made
        return Blocked("overlap", name, f"waits until run {maker} does not make {name} any more")
    return _before(launcher.queue.blocks(run_id), engine)


_SHOWN = 3


def _waits_for(runs: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, runs[:_SHOWN])) + (f" and {len(runs) - _SHOWN} more" if len(runs) > _SHOWN else "")
    return f"waits for run{'s' * (len(runs) > 1)} {shown}"


def _before(gate: Gate | None, engine: Engine) -> Blocked:
    """The limit that a run waits for."""
    queue = engine.launcher.queue
    if gate is None:
        return Blocked("executor", "process", f"waits for a slot ({queue.in_use} of {queue.capacity} in use)")
    name, taken = gate.name, f"({gate.used} of {gate.capacity} in use)"
    if gate.paused:
        return Blocked("pause", name, f"the pool {name} is paused; freshet pool {name} --resume lets it go on")
    if isinstance(gate, RateGate):
        left = max(0.0, gate.opens_at - engine.instruments.clock.monotonic())
        return Blocked("rate", name, f"the rate of the pool {name} lets the next one start in {left:.1f} s")
    match gate.kind:
        case "pool":
            return Blocked("pool", name, f"waits for the pool {name} {taken}")
        case "runs":
            return Blocked("runs", None, f"waits for the limit of all runs ({gate.used} of {gate.capacity} under way)")
        case "tag":
            said = f"waits for the limit of runs with {name} ({gate.used} of {gate.capacity} under way)"
            return Blocked("tag", name, said)
        case "executor" if name != "process":
            return Blocked("executor", name, f"waits for a slot of {name} {taken}")
        case _:
            return Blocked("executor", name, f"waits for a slot {taken}")
