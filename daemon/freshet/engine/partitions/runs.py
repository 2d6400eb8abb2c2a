"""Bitmaps as runs of consecutive numbers: what an algebra on windows costs depends on these alone."""

from __future__ import annotations

from collections.abc import Iterator

from pyroaring import BitMap

__all__ = ["dilated", "runs_of"]


def runs_of(numbers: BitMap) -> Iterator[tuple[int, int]]:
    """The first and last number of each run, in order."""
    if not numbers:
        return
    first, end = numbers.min(), numbers.max() + 1
    while first < end:
        step = 1
        while numbers.contains_range(first, first + 2 * step):
            step *= 2
        low, high = first + step, first + 2 * step  # the run goes on up to low at least, and ends before high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if numbers.contains_range(first, middle) else (low, middle)
        yield first, low - 1
        if low >= end:
            return
        first = next(numbers.iter_equal_or_larger(low))


def dilated(numbers: BitMap, start: int, end: int) -> BitMap:
    """Each number n as all from n + start to n + end, as far as they are positive."""
    found, width, wanted = numbers.copy(), 1, end - start + 1
    while width < wanted:
        step = min(width, wanted - width)
        found |= found.shift(step)
        width += step
    found = found.shift(start)
    found.discard(0)
    return found
