"""What a person, or a program elsewhere, does with checks: runs of them alone, and results from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from freshet.definitions.check import is_imported
from freshet.definitions.graph import Definitions
from freshet.definitions.names import nearest_hint
from freshet.engine.instruments import Instruments
from freshet.engine.partitions.refs import partition_ref
from freshet.engine.requests import find_asset, run_of_assets
from freshet.errors import Conflict, UnknownName
from freshet.store.checks import record_checks
from freshet.store.records import ImportedCheck, PartitionRef, RunToAdmit

__all__ = ["CheckControl", "CheckDesk", "imported", "verification"]

_AT_ONCE = 200
"""Results that one transaction writes at the most."""


class CheckControl(Protocol):
    """A part of `control.Control`."""

    async def verify(self, asset: str, *, key: str | None = None, checks: Sequence[str] = ()) -> int:
        """Admit a run of an asset's checks alone; returns its id."""
        ...

    async def record_checks(self, results: Sequence[ImportedCheck]) -> int:
        """Keep results from elsewhere, in order; returns how many, once durable."""
        ...


class CheckDesk:
    """Implements it for an engine. `admit` admits a run."""

    def __init__(self, instruments: Instruments, admit: Callable[[RunToAdmit], Awaitable[int]]) -> None:
        self._in = instruments
        self._admit = admit

    async def verify(self, asset: str, key: str | None, checks: Sequence[str]) -> int:
        """See `CheckControl`."""
        definitions, now = self._in.in_force.definitions, self._in.clock.now()
        return await self._admit(verification(definitions, asset, checks, key=key, now=now))

    async def record(self, results: Sequence[ImportedCheck]) -> int:
        """See `CheckControl`."""
        definitions, now = self._in.in_force.definitions, self._in.clock.now()
        checked = [imported(definitions, one, now) for one in results]
        for start in range(0, len(checked), _AT_ONCE):
            some = checked[start : start + _AT_ONCE]
            self._in.bus.publish(await self._in.store.write(partial(record_checks, results=some, now=now)))
        return len(checked)


def imported(definitions: Definitions, result: ImportedCheck, now: float) -> tuple[ImportedCheck, PartitionRef | None]:
    """The result, and its partition. Raises `UnknownName` and `Conflict` for what it cannot be of."""
    spec = find_asset(definitions, result.asset)
    if not is_imported(result.name):
        raise Conflict(
            f"a check called {result.name!r} could be taken for a declared one", hint='begin with its source: "dbt:..."'
        )
    if result.key is None:
        return result, None
    if spec.partitions is None:
        raise Conflict(f"the asset {spec.name!r} has no partitions", hint="leave the partition out")
    return result, partition_ref(spec.partitions, result.key, now, repr(spec.name))


def verification(
    definitions: Definitions, asset: str, names: Sequence[str], *, key: str | None, now: float
) -> RunToAdmit:
    """A run of an asset's checks: of those named, else of all that can be for `key`; for None of a partitioned asset,
    those of all partitions together.

    Raises `UnknownName` for an asset, a check or a key that is not there, and `Conflict` where there is nothing to be
    checked.
    """
    spec = find_asset(definitions, asset)
    there = {one.name: one for one in definitions.checks_of.get(asset, ())}
    for name in names:
        if name not in there:
            raise UnknownName(f"the asset {asset!r} has no check {name!r}", hint=nearest_hint(name, there))
    if not there:
        raise Conflict(f"the asset {asset!r} has no checks", hint=f'declare one with @check(asset="{asset}")')
    chosen = [there[name] for name in names] or list(there.values())
    if spec.partitions is not None and key is None and not names:
        chosen = [one for one in chosen if one.whole]
        if not chosen:
            said = f"the checks of {asset!r} are each of one partition"
            raise Conflict(said, hint="name a partition (--partition KEY)")
    placed = key is not None and (spec.partitions is None or not all(one.whole for one in chosen))
    checks = [one.step for one in chosen]
    return run_of_assets(definitions, (), key=key if placed else None, origin="verify", now=now, checks=checks)
