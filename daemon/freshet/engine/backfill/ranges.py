"""`--partitions` as a text, and the numbers that it means. Pure: keys of dynamic sets are looked up by who calls.

`A..B` is from A to B, both included; an end left out is the first or the last there is. Windows go by time, keys of a
static list by its order, dynamic keys by when each was first added: one that was deleted and came back has its old
place (while `Last()` takes it for the newest). `K1,K2` are these keys. Of a set of several dimensions:
`day=A..B|region=eu`, each dimension by itself; one left out means all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyroaring import BitMap

from freshet.definitions.multi_partitions import MAX_COMBINATIONS, DimensionSet, MultiPartitions
from freshet.definitions.names import check_key, nearest_hint
from freshet.definitions.partitions import (
    DynamicPartitions,
    PartitionsSpec,
    StaticPartitions,
    TimePartitions,
    said_set,
)
from freshet.engine.partitions.combinations import Box
from freshet.engine.partitions.refs import not_yet, partition_ref
from freshet.engine.partitions.sets import Sets
from freshet.errors import Conflict, PartitionKeyError, UnknownName

__all__ = ["Part", "box_of", "clipped", "everything", "numbers_of", "parse", "to_look_up"]

_FORM = "write A..B, or K1,K2"
_ESCAPED = (("%7C", "|"), ("%3D", "="), ("%25", "%"))


@dataclass(frozen=True, slots=True)
class Part:
    """What is selected of a set, or of one dimension of it. `span`: from the first to the second key, "" for an end
    left open; else `keys`; neither: all. `whole`: the text as it stands, which may be a key that looks like a range.
    `of`: whose set it is, for messages."""

    set: DimensionSet
    dimension: str | None = None
    span: tuple[str, str] | None = None
    keys: tuple[str, ...] = ()
    whole: str = ""
    of: str = ""


def parse(spec: PartitionsSpec, text: str, of: str = "") -> tuple[Part, ...]:
    """The parts of a selection, one for each dimension. `of`: whose set it is, for messages, where nobody named it.
    Raises `PartitionKeyError` for what cannot be read."""
    if not isinstance(spec, MultiPartitions):
        return (_part(spec, None, text, of),)
    given = dict[str, str]()
    for piece in text.split("|"):
        name, equals, value = piece.partition("=")
        if not equals or name not in spec.names:
            known = nearest_hint(name, spec.names) if equals else f"write {spec.names[0]}=A..B|{spec.names[1]}=KEY"
            whose = (of or ", ".join(spec.names)) if spec.made_up else repr(spec.name)
            raise PartitionKeyError(f"{piece[:60]!r} names no dimension of {whose}", hint=known)
        if name in given:
            raise PartitionKeyError(f"the dimension {name!r} stands twice", hint=f"write {name}=K1,K2 for several keys")
        given[name] = value
    return tuple(
        _part(one.set, one.name, _plain(given[one.name])) if one.name in given else Part(one.set, one.name)
        for one in spec.dimensions
    )


def everything(spec: MultiPartitions) -> tuple[Part, ...]:
    """All of every dimension."""
    return tuple(Part(one.set, one.name) for one in spec.dimensions)


def to_look_up(parts: tuple[Part, ...]) -> dict[str, tuple[str, ...]]:
    """By dynamic set, the keys whose numbers are needed: those that are there, of what may be keys."""
    found: dict[str, tuple[str, ...]] = {}
    for part in parts:
        if isinstance(part.set, DynamicPartitions):
            ends = () if part.span is None else tuple(key for key in part.span if key)
            mine = (part.whole, *ends, *part.keys) if part.whole else ()
            found[part.set.name] = (*found.get(part.set.name, ()), *mine)
    return found


def numbers_of(part: Part, sets: Sets, looked_up: Mapping[str, Mapping[str, int]], now: float) -> BitMap:
    """The live numbers that a part means. Raises `UnknownName` and `PartitionKeyError`, naming the key; of a single
    window that is not live at `now`, as everywhere."""
    live = sets.live(part.set)
    if part.span is None and not part.keys:
        return live.copy()
    known = looked_up.get(part.set.name, {})
    if isinstance(part.set, StaticPartitions) and part.whole in part.set.keys:
        return BitMap([_number(part, part.whole, sets, known, live)])
    if part.whole in known:
        return BitMap([known[part.whole]])
    if part.span is not None:
        return _spanned(part, *part.span, sets, known, live)
    if isinstance(part.set, TimePartitions):
        for key in part.keys:
            partition_ref(part.set, key, now, part.of)
    return BitMap(_number(part, key, sets, known, live) for key in part.keys)


def clipped(part: Part, sets: Sets) -> tuple[str, ...]:
    """What is to be said of a range in time of which only a part is there."""
    live = sets.live(part.set)
    if part.span is None or not live or not isinstance(spec := part.set, TimePartitions):
        return ()
    first, last = part.span
    said: list[str] = []
    if first and spec.number(first) < live.min():
        said.append(f"{part.of or 'it' if spec.made_up else spec.name} begins at {spec.key(live.min())}")
    if last and spec.number(last) > live.max():
        said.append(f"{last} {not_yet(spec)}: the last is {spec.key(live.max())}")
    return tuple(said)


def box_of(spec: MultiPartitions, parts: tuple[Part, ...], sets: Sets, sides: Mapping[str, BitMap]) -> Box:
    """The combinations of `sides`. Raises `Conflict` where there are too many combinations to leave a dimension out."""
    sizes = {one.name: len(sets.live(one.set)) for one in spec.dimensions}
    if spec.needs_ranges(sizes):
        for part in parts:
            if part.span is None and not part.keys:
                whose = f"the set of {' and '.join(spec.names)}" if spec.made_up else repr(spec.name)
                raise Conflict(
                    f"{whose} has over {MAX_COMBINATIONS:,} combinations: a range is needed in each dimension",
                    hint="give --partitions with all of them: " + "|".join(f"{name}=A..B" for name in spec.names),
                )
    return Box(dict(sides))


def _part(spec: DimensionSet, dimension: str | None, text: str, of: str = "") -> Part:
    of = of if dimension is None else f"the dimension {dimension!r}"
    first, dots, last = text.partition("..")
    if dots and ".." not in last:  # else it can be a key alone
        return Part(spec, dimension, span=(first.strip(), last.strip()), whole=text, of=of)
    keys = tuple(key.strip() for key in text.split(","))
    if not all(keys):
        raise PartitionKeyError(f"{text!r} is no selection of partitions", hint=_FORM)
    return Part(spec, dimension, keys=keys, whole=text, of=of)


def _plain(text: str) -> str:
    for escaped, char in _ESCAPED:
        text = text.replace(escaped, char)
    return text


def _spanned(part: Part, first: str, last: str, sets: Sets, known: Mapping[str, int], live: BitMap) -> BitMap:
    """From one key to another: by time, by the list's order, or by order of addition."""
    spec = part.set
    if isinstance(spec, StaticPartitions):
        low = 0 if not first else _index(part, spec, first, part.whole)
        high = len(spec.keys) - 1 if not last else _index(part, spec, last, part.whole)
        _forward(low, high, first, last, "in the list")
        numbers = (sets.number(spec, key) for key in spec.keys[low : high + 1])
        return BitMap(number for number in numbers if number is not None) & live
    if not live:
        return BitMap()
    if isinstance(spec, TimePartitions):
        low = live.min() if not first else spec.number(first)
        high = live.max() if not last else spec.number(last)
    else:
        low = live.min() if not first else _number(part, first, sets, known, live, part.whole)
        high = live.max() if not last else _number(part, last, sets, known, live, part.whole)
    if first and last:
        _forward(low, high, first, last, "in time" if isinstance(spec, TimePartitions) else "by when they were added")
    return live & BitMap(range(low, high + 1)) if low <= high else BitMap()


def _forward(low: int, high: int, first: str, last: str, order: str) -> None:
    if low > high:
        said = f"{first}..{last} runs backward: {last!r} comes before {first!r} {order}"
        raise PartitionKeyError(said, hint=f"write {last}..{first}")


def _index(part: Part, spec: StaticPartitions, key: str, whole: str = "") -> int:
    if key not in spec.keys:
        raise _unknown(part, key, whole, nearest_hint(key, spec.keys))
    return spec.keys.index(key)


def _unknown(part: Part, key: str, whole: str, hint: str) -> UnknownName:
    given = f", nor {whole!r}" if whole not in ("", key) else ""
    return UnknownName(f"{said_set(part.set, part.of)} has no key {key!r}{given}", hint=hint)


def _number(part: Part, key: str, sets: Sets, known: Mapping[str, int], live: BitMap, whole: str = "") -> int:
    """The live number of a key; `whole`: the text of a range, which may have been meant for a key."""
    spec = part.set
    if isinstance(spec, StaticPartitions):
        _index(part, spec, key, whole)
    number = known.get(check_key(key)) if isinstance(spec, DynamicPartitions) else sets.number(spec, key)
    if number is not None and number in live:
        return number
    hint = f"freshet partitions {spec.name} lists them"
    if isinstance(spec, TimePartitions) and live:
        hint = f"those there are go from {spec.key(live.min())} to {spec.key(live.max())}"
    raise _unknown(part, key, whole, hint)
