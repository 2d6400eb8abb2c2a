"""In which order the keys of a dynamic set were added, of which some came back after they had been deleted."""

from __future__ import annotations

from collections.abc import Sequence

from pyroaring import BitMap

from freshet.store.records import AddedAgain, SetState

__all__ = ["Order"]


class Order:
    """Numbers follow each other as their keys were added, but for those that came back: each of these has its place
    behind the highest number there was, by transactions. Keys of one transaction follow each other by number.

    It follows additions; one that is known already moves nothing, nor does an earlier one than is known.
    """

    def __init__(self, state: SetState | None = None) -> None:
        """`state`: what is remembered of the set."""
        self._top = 0 if state is None else max(state.top, state.live.max() if state.live else 0)
        self._again = {} if state is None else {one.number: one for one in state.again}
        self._to_come = BitMap()
        self._newest: int | None = None

    def expect(self, numbers: BitMap) -> None:
        """These come by an addition that what is remembered knows already."""
        self._to_come |= numbers

    def added(self, numbers: Sequence[int], live: BitMap, txn: int) -> None:
        """Keys come in a transaction; `live`: what is there already."""
        top = self._top
        for number in numbers[: _split(numbers, top)]:
            known = self._again.get(number)
            new = number not in self._to_come if known is None else known.txn < txn
            if new and number not in live:
                self._again[number] = AddedAgain(number, txn, top)
            self._first(number)
        self._to_come -= BitMap(numbers)
        if numbers and numbers[-1] > top:
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

    def _place(self, number: int) -> tuple[int, bool, int, int]:
        known = self._again.get(number)
        return (number, False, 0, 0) if known is None else (known.behind, True, known.txn, number)


def _split(numbers: Sequence[int], top: int) -> int:
    """How many of ascending numbers are not above `top`."""
    if isinstance(numbers, range):
        return min(len(numbers), max(0, top + 1 - numbers.start))
    return sum(number <= top for number in numbers)
