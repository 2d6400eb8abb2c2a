"""A mapping between two sets, compiled: from partitions below to those above, and back.

For every link, `u in above({d})` is the same as `d in below({u})`, for `d` and `u` that are live. Numbers that are not
live may come out (a window before `start`): who asks cuts with what is live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pyroaring import BitMap

from freshet.definitions.mapping import TimeWindow
from freshet.definitions.windows import MAX_NUMBER, Windows
from freshet.engine.partitions.runs import dilated, runs_of

__all__ = ["Every", "Link", "Newest", "Pairs", "Same", "Windowed"]

_Live = Callable[[], BitMap]


class Link(Protocol):
    """How partitions of one set follow from those of another."""

    def above(self, below: BitMap) -> BitMap:
        """The upstream partitions that any of these downstream partitions depends on."""
        ...

    def below(self, above: BitMap) -> BitMap:
        """The downstream partitions that depend on any of these upstream partitions."""
        ...

    def named(self, below: BitMap) -> BitMap:
        """Those of these downstream partitions for which the mapping names anything, live or not; to be read only."""
        ...


@dataclass(frozen=True)
class Same:
    """The same number."""

    def above(self, below: BitMap) -> BitMap:
        """The same."""
        return below.copy()

    def below(self, above: BitMap) -> BitMap:
        """The same."""
        return above.copy()

    def named(self, below: BitMap) -> BitMap:
        """All."""
        return below


@dataclass(frozen=True)
class Every:
    """All on one side depend on all on the other; also where a side has no partitions, its one number then being 0."""

    live_above: _Live
    live_below: _Live

    def above(self, below: BitMap) -> BitMap:
        """All that is live, if anything is asked."""
        return self.live_above() if below else BitMap()

    def below(self, above: BitMap) -> BitMap:
        """All that is live, if anything is asked."""
        return self.live_below() if above else BitMap()

    def named(self, below: BitMap) -> BitMap:
        """All."""
        return below


@dataclass(frozen=True)
class Newest:
    """All below depend on the newest above."""

    newest_above: _Live
    live_below: _Live

    def above(self, below: BitMap) -> BitMap:
        """The newest, if there is one."""
        return self.newest_above() if below else BitMap()

    def below(self, above: BitMap) -> BitMap:
        """All that is live, if the newest is among those asked."""
        return self.live_below() if above & self.newest_above() else BitMap()

    def named(self, below: BitMap) -> BitMap:
        """All."""
        return below


class Pairs:
    """Numbers that go together one by one: `Static`, resolved."""

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        """`pairs`: upstream's number, downstream's number."""
        self._below: dict[int, BitMap] = {}
        self._above: dict[int, BitMap] = {}
        for above, below in pairs:
            self._below.setdefault(above, BitMap()).add(below)
            self._above.setdefault(below, BitMap()).add(above)
        self._named = BitMap(self._above)

    def above(self, below: BitMap) -> BitMap:
        """The upstream's of these pairs."""
        return _looked_up(self._above, below)

    def below(self, above: BitMap) -> BitMap:
        """The downstream's of these pairs."""
        return _looked_up(self._below, above)

    def named(self, below: BitMap) -> BitMap:
        """Those in any pair."""
        return below & self._named


@dataclass(frozen=True)
class Windowed:
    """The windows that share a moment, and the upstream's from `start` before to `end` after them."""

    upstream: Windows
    downstream: Windows
    reach: TimeWindow

    def above(self, below: BitMap) -> BitMap:
        """By the runs of `below`: windows in a row depend on windows in a row."""
        start, end = self.reach.start, self.reach.end
        if self.upstream == self.downstream:
            return dilated(below, start, end)
        found = BitMap()
        for low, high in _overlaps(self.downstream, self.upstream, runs_of(below)):
            _add(found, low + start, high + end)
        return found

    def below(self, above: BitMap) -> BitMap:
        """The other way round, by runs too."""
        start, end = self.reach.start, self.reach.end
        if self.upstream == self.downstream:
            return dilated(above, -end, -start)
        found = BitMap()
        reached = ((max(1, first - end), last - start) for first, last in runs_of(above) if last > start)
        for low, high in _overlaps(self.upstream, self.downstream, reached):
            _add(found, low, high)
        return found

    def named(self, below: BitMap) -> BitMap:
        """All."""
        return below


def _overlaps(here: Windows, there: Windows, runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Of each run, in order, the first and last window over there that share a moment with it."""
    done = 0  # up to here, what follows lies within the last windows given: many hours of one day cost one
    for first, last in runs:
        if last <= done:
            continue
        low, high = there.over(here.edge(first), here.edge(last + 1))
        if low <= high:
            done = here.at(there.edge(high + 1)) - 1
        yield low, high


def _add(numbers: BitMap, first: int, last: int) -> None:
    first, last = max(1, first), min(MAX_NUMBER, last)
    if first <= last:
        numbers.add_range(first, last + 1)


def _looked_up(table: Mapping[int, BitMap], numbers: BitMap) -> BitMap:
    if len(numbers) > len(table):
        return BitMap.union(BitMap(), *(found for one, found in table.items() if one in numbers))
    return BitMap.union(BitMap(), *(table[one] for one in numbers if one in table))
