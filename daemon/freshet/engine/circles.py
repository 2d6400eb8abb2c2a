"""Who would wait for itself: steps that rest until runs have ended, and make meanwhile what other runs wait for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from freshet.engine.queue import StepId

__all__ = ["Circles", "Thing"]

Thing = tuple[str, str | None]
"""An asset or job that no two runs make at once, and the key of its partition."""
_Token = tuple[int, int]
"""Of a call: the attempt, and its number."""


@dataclass(slots=True, eq=False)
class _Resting:
    """`calls`: the runs that are waited for (None: not admitted yet), and what they make."""

    makes: Thing | None
    calls: dict[_Token, tuple[int | None, Thing | None]] = field(
        default_factory=dict[_Token, tuple[int | None, Thing | None]]
    )


class Circles:
    """A step that rests ends after the runs that it has called. A run ends after its steps that rest; and, where what
    it makes is made by a step that rests, after that one. Steps that do not rest end by themselves: each circle is
    closed by a call, and found when that is made."""

    def __init__(self) -> None:
        self._steps: dict[StepId, _Resting] = {}
        self._makers: dict[Thing, StepId] = {}
        self._of_run: dict[int, set[StepId]] = {}

    def waits(
        self, step_id: StepId, token: _Token, run_id: int | None, thing: Thing | None, *, makes: Thing | None
    ) -> None:
        """A step that `makes` something waits for a run, which is to make `thing`. Said again, it is put right."""
        step = self._steps.get(step_id)
        if step is None:
            step = self._steps[step_id] = _Resting(makes)
            self._of_run.setdefault(step_id[0], set()).add(step_id)
            if makes is not None:
                self._makers[makes] = step_id
        step.calls[token] = run_id, thing

    def leaves(self, step_id: StepId, token: _Token) -> None:
        """It does not wait for that one any more."""
        step = self._steps.get(step_id)
        if step is not None and step.calls.pop(token, None) is not None and not step.calls:
            self.over(step_id)

    def over(self, step_id: StepId) -> None:
        """It waits for nothing any more."""
        step = self._steps.pop(step_id, None)
        if step is None:
            return
        of_run = self._of_run[step_id[0]]
        of_run.discard(step_id)
        if not of_run:
            del self._of_run[step_id[0]]
        if step.makes is not None and self._makers.get(step.makes) == step_id:
            del self._makers[step.makes]

    def find(self, by: StepId, run_id: int | None, thing: Thing | None, *, makes: Thing | None) -> tuple[int, ...]:
        """The circle that a step, which `makes` something, would close by waiting for this run: the runs that wait for
        each other, the last of which is the step's own. Empty: there is none."""
        before: dict[StepId, StepId | None] = {}
        left: list[tuple[StepId | None, int | None, Thing | None]] = [(None, run_id, thing)]
        while left:
            above, run, made = left.pop()
            if run == by[0] or (makes is not None and made == makes):
                return (*_runs(before, above), by[0])
            for one in self._next(run, made):
                if one not in before:
                    before[one] = above
                    left.extend((one, *further) for further in self._steps[one].calls.values())
        return ()

    def _next(self, run_id: int | None, thing: Thing | None) -> Iterator[StepId]:
        """The steps that rest, and after which a run ends."""
        if run_id is not None:
            yield from self._of_run.get(run_id, ())
        if thing is not None and (maker := self._makers.get(thing)) is not None:
            yield maker


def _runs(before: dict[StepId, StepId | None], last: StepId | None) -> tuple[int, ...]:
    runs, step_id = list[int](), last
    while step_id is not None:
        runs.append(step_id[0])
        step_id = before[step_id]
    return tuple(reversed(runs))
