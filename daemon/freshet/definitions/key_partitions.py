"""Sets whose keys are data: known to the store (dynamic) or written down (static)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, cast

from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect, expect_list
from freshet.definitions.names import check_key, check_name
from freshet.definitions.source import Source, caller_source
from freshet.errors import DefinitionError

__all__ = ["DynamicPartitions", "Keep", "StaticPartitions"]


@dataclass(frozen=True)
class Keep:
    """Which keys of a set stay: those added within the last `age` (a duration; kept in seconds), and of them the
    `count` that were added last. None: no such limit.

    Raises `DefinitionError` for neither, and for what is no duration or no whole number above 0.
    """

    age: float | None = None
    count: int | None = None

    def __init__(self, age: Duration | float | None = None, count: int | None = None) -> None:
        if age is None and count is None:
            raise DefinitionError("Keep(): neither age nor count", hint=_KEEP)
        seconds = _seconds(age)
        if seconds is not None and not 0 < seconds < float("inf"):
            raise DefinitionError(f"keep: age={age!r} keeps nothing", hint=_KEEP)
        if count is not None and (type(count) is not int or count < 1):
            raise DefinitionError(f"keep: count={count!r} is no whole number of at least 1", hint=_KEEP)
        object.__setattr__(self, "age", seconds)
        object.__setattr__(self, "count", count)


def _seconds(age: object) -> float | None:
    """Of a duration; what is told as plain data is in seconds already."""
    return age if age is None or isinstance(age, float) else parse_duration(cast("Duration", age), what="keep: age")


_KEEP = 'write keep="30d", keep=1000, or keep=Keep(age="30d", count=1000)'


@dataclass(frozen=True)
class DynamicPartitions:
    """A set whose keys are added and deleted while the daemon runs. Equal names are the same set.

    Its keys are in the order in which they were first added: so they are listed and given to functions, and a range
    `A..B` of a backfill is all that were first added from A to B. A key that is deleted and added again has its old
    place; only for `Last()` it is the newest then.

    `keep`: which keys stay: `"30d"` those added in the last thirty days, `1000` the last thousand, `Keep(...)` both.
    The others are deleted, oldest first, as soon as no run of theirs is queued or under way; their history stays. A
    key that is deleted and added again counts from then.
    """

    name: str
    kind: Literal["dynamic"] = "dynamic"
    keep: Keep | None = None
    source: Source | None = field(default=None, compare=False)

    def __init__(
        self,
        name: str,
        kind: Literal["dynamic"] = "dynamic",
        keep: Keep | Duration | int | None = None,
        source: Source | None = None,
    ) -> None:
        check_name(name, what="DynamicPartitions", identifier=False)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "kind", "dynamic")
        object.__setattr__(self, "keep", _kept(keep, name))
        object.__setattr__(self, "source", source or caller_source())

    @property
    def made_up(self) -> bool:
        """Whether nobody named it."""
        return False


def _kept(keep: Keep | Duration | int | None, name: str) -> Keep | None:
    if keep is None or isinstance(keep, Keep):
        return keep
    try:
        if isinstance(keep, (str, timedelta)):
            return Keep(age=keep)
        return Keep(count=keep)
    except DefinitionError as error:
        raise DefinitionError(f"DynamicPartitions({name!r}): {error.message}", hint=error.hint) from None


@dataclass(frozen=True)
class StaticPartitions:
    """A fixed list of keys. Without a name the set is called after its keys, `static-` and a digest of them: another
    list is then another set. With a `name` it stays the same set when the list is edited."""

    keys: tuple[str, ...]
    name: str
    kind: Literal["static"] = "static"
    source: Source | None = field(default=None, compare=False)

    def __init__(
        self,
        keys: Iterable[str],
        name: str = "",
        kind: Literal["static"] = "static",
        source: Source | None = None,
    ) -> None:
        called = keys if isinstance(keys, str) else "name"
        given = expect_list(keys, "StaticPartitions: keys", f'write StaticPartitions([...], name="{called}")')
        checked = tuple(check_key(expect(key, (str,), "StaticPartitions: a key")) for key in given)
        if not checked:
            raise DefinitionError("StaticPartitions: no keys", hint="give at least one")
        if len(set(checked)) != len(checked):
            twice = next(key for key in checked if checked.count(key) > 1)
            raise DefinitionError(f"StaticPartitions: the key {twice!r} stands twice", hint="remove one")
        if name:
            check_name(name, what="StaticPartitions", identifier=False)
        object.__setattr__(self, "keys", checked)
        object.__setattr__(self, "name", name or f"static-{_digest(checked)}")
        object.__setattr__(self, "kind", "static")
        object.__setattr__(self, "source", source or caller_source())

    @property
    def made_up(self) -> bool:
        """Whether nobody named it."""
        return self.name == f"static-{_digest(self.keys)}"


def _digest(keys: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:12]
