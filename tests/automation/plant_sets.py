"""The partition sets of a store in miniature: which numbers are live, and the events by which they come and go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Literal, get_args

from pyroaring import BitMap

from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import MultiPartitions, StaticPartitions, TimePartitions
from freshet.store.records import AddedAgain, SetState

__all__ = ["SPELLINGS", "PlantSets", "Spelling", "dynamic_key", "in_runs"]

Place = tuple[int, ...]
Part = dict[str, Any]
_GONE = "gone"
Spelling = Literal["each", "ranges", "scattered"]
"""How partitions that come or go are told: by an event each, by one for each run of numbers, or all in one."""
SPELLINGS: tuple[Spelling, ...] = get_args(Spelling)


def dynamic_key(number: int) -> str:
    """The key of a dynamic partition."""
    return f"k{number}"


def in_runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The first and last of each run of consecutive numbers."""
    rest = sorted(set(numbers))
    while rest:
        last = rest[0]
        while last + 1 in rest:
            last += 1
        yield rest[0], last
        rest = [number for number in rest if number > last]


class PlantSets:
    """Static keys are numbered from the end of their list, and one that is no longer in it has a number too, so that
    nothing may stand on their order. Combinations are numbered as they come."""

    def __init__(self, definitions: Definitions, live: Mapping[str, Iterable[int]]) -> None:
        self.spec = definitions.partition_set
        self.live: dict[str, set[int]] = {name: set(numbers) for name, numbers in live.items()}
        self.txn = 0
        self.added_by = {name: dict.fromkeys(numbers, 0) for name, numbers in self.live.items()}
        self.top = {name: max(numbers, default=0) for name, numbers in self.live.items()}
        self.again: dict[str, dict[int, AddedAgain]] = {}
        self.keys: dict[str, dict[str, int]] = {}
        self.places: dict[str, dict[int, Place]] = {}
        for name, spec in self.spec.items():
            if isinstance(spec, StaticPartitions):
                self.keys[name] = {key: number for number, key in enumerate(reversed((*spec.keys, _GONE)), 1)}
                self.live[name] = {self.keys[name][key] for key in spec.keys}
            elif isinstance(spec, MultiPartitions):
                self.places[name] = {}
            self.live.setdefault(name, set())

    def states(self) -> dict[str, SetState]:
        """As the store gives them."""
        return {
            name: SetState(
                name,
                spec.kind,
                BitMap(self.live[name]),
                dict(self.keys.get(name, {})),
                tuple(self.places.get(name, {}).items()),
                self.top.get(name, 0),
                tuple(one for one in self.again.get(name, {}).values() if one.number in self.live[name]),
            )
            for name, spec in self.spec.items()
        }

    def key(self, name: str, number: int) -> str:
        """The key of a number."""
        spec = self.spec[name]
        if isinstance(spec, TimePartitions):
            return spec.key(number)
        if isinstance(spec, StaticPartitions):
            return next(key for key, known in self.keys[name].items() if known == number)
        if isinstance(spec, MultiPartitions):
            return self._combined(spec, self.places[name][number])
        return dynamic_key(number)

    def _combined(self, spec: MultiPartitions, place: Place) -> str:
        return spec.key({one.name: self.key(one.set.name, n) for one, n in zip(spec.dimensions, place, strict=True)})

    # --- what comes and goes --------------------------------------------------------------------------------------

    def opened(self, name: str, count: int) -> list[Part]:
        """The next windows of a set in time have closed."""
        spec, live = self.spec[name], self.live[name]
        assert isinstance(spec, TimePartitions)
        first = max(live) + 1 if live else spec.first
        live |= set(range(first, first + count))
        return [_event("partition_added", name, first, last=first + count - 1)]

    def added(self, name: str, numbers: Iterable[int], *, ranged: Spelling = "each") -> list[Part]:
        """Dynamic keys; one that comes back brings its combinations back."""
        wanted, top = sorted(set(numbers)), self.top.get(name, 0)
        fresh, again = set(wanted) - self.live[name], self.again.setdefault(name, {})
        again.update((one, AddedAgain(one, self.txn, top)) for one in fresh if one <= top)
        self.added_by.setdefault(name, {}).update(dict.fromkeys(fresh, self.txn))
        self.top[name] = max((top, *wanted))
        self.live[name] |= set(wanted)
        if ranged != "each":
            parts = _at_once("partition_added", name, wanted, ranged)
        else:
            parts = [_event("partition_added", name, number, key=self.key(name, number)) for number in wanted]
        for several in self.places:
            back = self._revived(several, name, set(wanted))
            if ranged != "each":
                self.live[several] |= back
                parts += _at_once("partition_added", several, back, ranged)
            else:
                parts += self.used(several, [self.places[several][one] for one in sorted(back)])
        return parts

    def _revived(self, several: str, name: str, numbers: set[int]) -> set[int]:
        """The combinations, all of whose parts are live now that these are."""
        spec = self.spec[several]
        assert isinstance(spec, MultiPartitions)
        having = {one for number in numbers for one in self.with_key(name, number).get(several, ())}
        return {
            one
            for one in having
            if all(
                n in self.live[dim.set.name] for dim, n in zip(spec.dimensions, self.places[several][one], strict=True)
            )
        }

    def used(self, name: str, places: Sequence[Place]) -> list[Part]:
        """Combinations that are used for the first time, or are back."""
        spec, known, live = self.spec[name], self.places[name], self.live[name]
        assert isinstance(spec, MultiPartitions)
        parts: list[Part] = []
        for place in places:
            number = next((one for one, other in known.items() if other == place), len(known) + 1)
            if number in live:
                continue
            known[number] = place
            live.add(number)
            key = self._combined(spec, place)
            parts.append(_event("partition_added", name, number, key=key, place=list(place)))
        return parts

    def free_places(self, name: str) -> list[Place]:
        """Combinations of live keys that are not live."""
        spec = self.spec[name]
        assert isinstance(spec, MultiPartitions)
        there = {self.places[name][number] for number in self.live[name]}
        sides = [sorted(self.live[one.set.name]) for one in spec.dimensions]
        return [place for place in product(*sides) if place not in there]

    def deleted(
        self, name: str, numbers: Iterable[int], *, ranged: Spelling = "each"
    ) -> tuple[list[Part], set[tuple[str, int]]]:
        """Dynamic keys, and the combinations that they take with them; returns the events, and what is gone."""
        gone = {(name, number) for number in numbers}
        for number in {number for _, number in gone}:
            for several, combinations in self.with_key(name, number).items():
                gone |= {(several, one) for one in combinations if one in self.live[several]}
        parts: list[Part] = []
        for each in (name, *sorted({several for several, _ in gone} - {name})):
            mine = {number for several, number in gone if several == each}
            self.live[each] -= mine
            if ranged != "each":
                parts += _at_once("partition_deleted", each, mine, ranged)
            else:
                parts += [_event("partition_deleted", each, one, key=self.key(each, one)) for one in sorted(mine)]
        return parts, gone

    def with_key(self, name: str, number: int) -> dict[str, set[int]]:
        """The combinations, live or not, that have a dimension's number, by their set."""
        found: dict[str, set[int]] = {}
        for several, places in self.places.items():
            spec = self.spec[several]
            assert isinstance(spec, MultiPartitions)
            for index, one in enumerate(spec.dimensions):
                if one.set.name == name:
                    found.setdefault(several, set()).update(n for n, place in places.items() if place[index] == number)
        return found


def _at_once(kind: str, name: str, numbers: Iterable[int], spelling: Spelling) -> list[Part]:
    wanted = sorted(numbers)
    if spelling == "scattered" and wanted:
        return [_event(kind, name, wanted[0], numbers=wanted)]
    return [_event(kind, name, first, last=last) for first, last in in_runs(wanted)]


def _event(kind: str, name: str, first: int, **data: Any) -> Part:
    return {"type": kind, "set": name, "partition": first, "data": data}
