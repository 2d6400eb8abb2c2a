"""`Values`: the values of many partitions by key, as a dict that reads each when it is first asked for.

A dict in every respect that Python code can see, and for the parts of Python that are written in C: keys are there from
the start, so that `len`, `in` and the test for emptiness need no help, and iterating is overridden, which sends
`dict(v)`, `{**v}`, `other.update(v)` and the like through `keys` and `[]` instead of through what lies within. What
reaches within nevertheless (orjson) finds an `Unread` there, which it refuses or shows: never a wrong value.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, ItemsView, Iterable, Iterator, ValuesView
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeGuard, TypeVar, cast

__all__ = ["Reading", "Unread", "Values"]

T = TypeVar("T")

Reading = Callable[[], AbstractContextManager[Callable[[str, Any], Any]]]
"""Opens what is to be read; while it is open, a key and its place give the value."""

_SHOWN = 3


class Unread:
    """Stands for a value that is not read yet. `place`: where it is."""

    __slots__ = ("place",)

    def __init__(self, place: Any) -> None:
        self.place = place

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


# What a library says of a type that it does not know is its name: orjson, of what it finds within a `Values`.
Unread.__name__ = "a value that is not read yet (give it dict(...) of the argument)"


def _no_place(key: str, place: Any) -> Any:
    return place


class Values(dict[str, T]):
    """The values of an upstream's partitions by key, in the order of the partitions.

    A value is read from disk when it is first asked for: `v[key]` and `v.get(key)` keep what they read; iterating over
    `values()` or `items()` does not, so that memory stays flat over any number. What cannot be read raises
    `ValueFormatError` where it is asked for, naming asset, partition and reason. Pickled, and in `|`, it is a dict.
    """

    _reading: Reading = staticmethod(lambda: nullcontext(_no_place))
    _note = ""

    @classmethod
    def unread(cls, places: Iterable[tuple[str, Any]], reading: Reading, note: str = "") -> Values[T]:
        """Values that lie at `places`, by key. `note` is shown with a `KeyError`: why a key may not be there."""
        made = cls((key, cast("T", Unread(place))) for key, place in places)
        made._reading = reading
        made._note = note
        return made

    # --- one ------------------------------------------------------------------------------------------------

    def _held(self, key: str) -> T:
        try:
            return super().__getitem__(key)
        except KeyError as error:  # no `__missing__`: pandas takes that for a default
            if self._note:
                error.add_note(self._note)
            raise

    def _look(self, key: str) -> T:
        held = self._held(key)
        if not isinstance(held, Unread):
            return held
        with self._reading() as read:
            return cast("T", read(key, held.place))

    def __getitem__(self, key: str) -> T:
        held = self._held(key)
        if isinstance(held, Unread):
            held = self._look(key)
            super().__setitem__(key, held)
        return held

    def get(self, key: str, default: Any = None, /) -> Any:
        """The value, or `default` where there is no such key."""
        return self[key] if key in self else default  # noqa: SIM401  # this is what `get` is

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        """The value; where there is no such key, `default` is put there."""
        return self[key] if key in self else super().setdefault(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        """Remove the key and give its value, or `default`. Raises `KeyError` where there is neither."""
        if key not in self:
            return super().pop(key, *default)
        value = self._look(key)
        del self[key]
        return value

    def popitem(self) -> tuple[str, T]:
        """Remove and give the last pair. Raises `KeyError` when empty."""
        key = next(reversed(self), None)
        return super().popitem() if key is None else (key, self.pop(key))

    # --- all ------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[str]:
        return super().__iter__()

    def _walk(self, *, backward: bool = False) -> Iterator[tuple[str, T]]:
        held = super().items()
        with self._reading() as read:
            for key, value in reversed(held) if backward else held:
                yield key, cast("T", read(key, value.place)) if isinstance(value, Unread) else value

    def items(self) -> ItemsView[str, T]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Keys and values; what iterating over them reads is not kept."""
        return _Items(self)

    def values(self) -> ValuesView[T]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """The values; what iterating over them reads is not kept."""
        return _Values(self)

    def __eq__(self, other: object) -> bool:
        return _equal(self, other) if _is_dict(other) else NotImplemented

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # as of every dict

    def __or__(self, other: Any, /) -> Any:
        return _joined(self, other) if _is_dict(other) else NotImplemented

    def __ror__(self, other: Any, /) -> Any:
        return _joined(other, self) if _is_dict(other) else NotImplemented

    # --- copies ---------------------------------------------------------------------------------------------

    def copy(self) -> Values[T]:
        """The same keys and values; what is not read yet is read for each copy by itself."""
        made = type(self)(iter(super().items()))
        made._reading, made._note = self._reading, self._note
        return made

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, T]:
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}

    def __reduce_ex__(self, protocol: Any, /) -> Any:
        return dict, (), None, None, iter(self.items())

    def __repr__(self) -> str:
        first = [repr(key) for key, _ in zip(self, range(_SHOWN), strict=False)]
        return f"<{len(self):,} values by key: {', '.join([*first, *(['...'] if len(self) > _SHOWN else [])])}>"


class _Items(ItemsView[str, T]):
    _mapping: Values[T]

    def __iter__(self) -> Iterator[tuple[str, T]]:
        return self._mapping._walk()  # pyright: ignore[reportPrivateUsage]

    def __reversed__(self) -> Iterator[tuple[str, T]]:
        return self._mapping._walk(backward=True)  # pyright: ignore[reportPrivateUsage]

    def __contains__(self, item: object) -> bool:
        pair: Any = item
        if not isinstance(item, tuple) or len(pair) != 2:
            return False
        key, value = pair
        return key in self._mapping and _same(self._mapping._look(key), value)  # pyright: ignore[reportPrivateUsage]


class _Values(ValuesView[T]):
    _mapping: Values[T]

    def __iter__(self) -> Iterator[T]:
        return (value for _, value in self._mapping._walk())  # pyright: ignore[reportPrivateUsage]

    def __reversed__(self) -> Iterator[T]:
        return (value for _, value in self._mapping._walk(backward=True))  # pyright: ignore[reportPrivateUsage]

    def __contains__(self, value: object) -> bool:
        return any(_same(one, value) for one in self)


def _is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    return isinstance(value, dict)


def _same(one: object, other: object) -> bool:
    return one is other or one == other


def _equal(values: Values[Any], other: dict[Any, Any]) -> bool:
    if len(values) != len(other):
        return False
    find = other._look if isinstance(other, Values) else other.__getitem__  # pyright: ignore[reportPrivateUsage]
    return all(key in other and _same(value, find(key)) for key, value in values.items())


def _joined(first: dict[Any, Any], then: dict[Any, Any]) -> dict[Any, Any]:
    made = dict[Any, Any](first.items())
    made.update(then.items())
    return made
