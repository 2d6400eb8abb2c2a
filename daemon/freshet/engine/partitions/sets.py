"""What is known of partition sets in memory: which numbers are live, and the few keys and places that links need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyroaring import BitMap

from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import (
    DynamicPartitions,
    MultiPartitions,
    PartitionsSpec,
    StaticPartitions,
    TimePartitions,
)
from freshet.engine.partitions.combinations import Combinations
from freshet.engine.partitions.order import Order
from freshet.store.records import Event, SetState

__all__ = ["Sets"]

_NONE = BitMap()


class Sets:
    """All sets of one version of the definitions; `Numbers` for `link_between`. Bitmaps given out are to be read only.

    It follows the events of partitions: applied twice, an event changes nothing.
    """

    def __init__(self, definitions: Definitions, states: Mapping[str, SetState]) -> None:
        self._spec = definitions.partition_set
        self._live = {name: state.live.copy() for name, state in states.items()}
        self._keys = {name: dict(state.keys) for name, state in states.items() if state.keys}
        self._order = {name: Order(one) for name, one in states.items() if one.kind == "dynamic"}
        self._combinations: dict[str, Combinations] = {}
        for name, spec in self._spec.items():
            if isinstance(spec, MultiPartitions):
                places = states[name].places if name in states else ()
                self._combinations[name] = Combinations(spec.names, places)

    def redefined(self, definitions: Definitions, states: Mapping[str, SetState]) -> Sets:
        """The same for other definitions; of sets in `states` what these say."""
        made = Sets(definitions, states)
        for name in self._live.keys() - states.keys():
            made._live[name] = self._live[name]
            made._keys[name] = self._keys.get(name, {})
            made._order.setdefault(name, self._order.get(name, Order()))
            spec, known = made._spec.get(name), self._combinations.get(name)
            if isinstance(spec, MultiPartitions) and known is not None and known.dimensions == spec.names:
                made._combinations[name] = known
        return made

    def apply(self, event: Event) -> BitMap:
        """Take in a `partition_added` or `partition_deleted`; returns its numbers. Of any other event: nothing."""
        if event.set is None or event.type not in ("partition_added", "partition_deleted") or not event.partition:
            return _NONE
        numbers, live = BitMap(event.numbers), self._live.setdefault(event.set, BitMap())
        if event.type == "partition_deleted":
            live -= numbers
            return numbers
        spec = self._spec.get(event.set)
        if spec is None or isinstance(spec, DynamicPartitions):
            self._order.setdefault(event.set, Order()).added(event.numbers, live, event.txn)
        live |= numbers
        data: Any = event.data or {}
        if isinstance(spec, StaticPartitions) and "key" in data:
            self._keys.setdefault(event.set, {})[data["key"]] = event.partition
        if isinstance(spec, MultiPartitions) and "place" in data:
            known = self._combinations[event.set]
            if not known.has(event.partition):
                known.add(event.partition, dict(zip(spec.names, data["place"], strict=True)))
        return numbers

    def hide(self, name: str, numbers: BitMap) -> None:
        """These are not live until an event adds them, which what is remembered of them knows already."""
        if name in self._live:
            self._live[name] -= numbers
        if name in self._order:
            self._order[name].expect(numbers)

    def drop(self, name: str, numbers: BitMap) -> None:
        """These are not live, as if they had been deleted already."""
        self._live[name] -= numbers

    def named(self, name: str | None) -> BitMap:
        """The live numbers of a set; {0} for None, which has no partitions."""
        return BitMap([0]) if name is None else self._live.get(name, _NONE)

    def live(self, spec: PartitionsSpec) -> BitMap:
        """The live numbers."""
        return self._live.get(spec.name, _NONE)

    def newest(self, spec: PartitionsSpec) -> BitMap:
        """The last key of a static list; of dynamic keys the one added last; otherwise the highest live number. Nothing
        if none is live."""
        live = self.live(spec)
        if isinstance(spec, StaticPartitions):
            last = self._keys.get(spec.name, {}).get(spec.keys[-1])
            return BitMap([last]) if last is not None and last in live else BitMap()
        if isinstance(spec, DynamicPartitions) and spec.name in self._order:
            newest = self._order[spec.name].newest(live)
            return BitMap() if newest is None else BitMap([newest])
        return BitMap([live.max()]) if live else BitMap()

    def number(self, spec: PartitionsSpec, key: str) -> int | None:
        """The number of a key of a static set or of one in time, or of a combination; None if it has none, and for
        dynamic keys, which only the store knows. Raises `PartitionKeyError` for what can be no key of the set."""
        match spec:
            case TimePartitions():
                return spec.number(key)
            case StaticPartitions():
                return self._keys.get(spec.name, {}).get(key)
            case MultiPartitions():
                parts = {name: self.number(spec.dimension(name), part) for name, part in spec.parse(key).items()}
                place = {name: number for name, number in parts.items() if number is not None}
                return self._combinations[spec.name].number(place) if len(place) == len(parts) else None
            case DynamicPartitions():
                return None

    def combinations(self, spec: MultiPartitions) -> Combinations:
        """The combinations that have a number."""
        return self._combinations[spec.name]
