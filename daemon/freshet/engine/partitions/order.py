"""In which order the keys of a dynamic set were added, of which some came back after they had been deleted."""

from __future__ import annotations

from collections.abc import Sequence

from pyroaring import BitMap

from freshet.store.records import AddedAgain, SetState

__all__ = ["Order"]


class Order:
    """Numbers follow each other as their keys were added, but for those that came back: each of these has its place
    behind the highest number there was. Keys of one instant follow each other by number.

    It follows additions; the same one applied twice moves nothing.
    """

    def __init__(self, state: SetState | None = None) -> None:
        """`state`: what is remembered of the set."""
        self._top = 0 if state is None else max(state.top, state.live.max() if state.live else 0)
        self._at, self._before = 0.0, self._top
        self._again = {} if state is None else {one.number: one for one in state.again}
        self._newest: int | None = None

    def added(self, numbers: Sequence[int], live: BitMap, at: float) -> None:
        """Keys come at `at`, seconds since 1970; `live`: what is there already."""
        top = self._top
        for number in numbers[: _split(numbers, top)]:
            known = self._again.get(number)
            if number not in live and (known is None or known.at < at):
                behind = max(number, self._before) if at == self._at else top
                self._again[number] = AddedAgain(number, at, behind)
                self._first(number)
        if numbers and numbers[-1] > top:
            if at > self._at:
                self._at, self._before = at, top
            self._top = numbers[-1]
            self._first(numbers[-1])

    def _first(self, number: int) -> None:
        if self._newest is not None and self._place(number) > self._place(self._newest):
            self._newest = number

    def newest(self, live: BitMap) -> int | None:
        """Of the numbers that are there, the one whose key was added last."""
        if self._newest is None or self._newest not in live:
            self._newest = self._found(live)
        return self._newest

    def _found(self, live: BitMap) -> int | None:
        if not live:
            return None
        if not self._again:
            return live.max()
        again = live & BitMap(self._again)
        plain = live - again
        best = [max(again, key=self._place)] if again else []
        return max([*best, plain.max()] if plain else best, key=self._place)

    def _place(self, number: int) -> tuple[int, float, int]:
        known = self._again.get(number)
        return (number, 0.0, 0) if known is None else (known.behind, known.at, number)


def _split(numbers: Sequence[int], top: int) -> int:
    """How many of ascending numbers are not above `top`."""
    if isinstance(numbers, range):
        return min(len(numbers), max(0, top + 1 - numbers.start))
    return sum(number <= top for number in numbers)
