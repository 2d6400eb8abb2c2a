"""Pools: named limits that steps share, and rates, as a plugin and the settings write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import NoneType
from typing import Any

from freshet.definitions.executor import Lane
from freshet.definitions.expect import expect
from freshet.definitions.names import check_name
from freshet.errors import DefinitionError

__all__ = ["Pool", "PoolUse", "Rate", "StepUse", "parse_rate", "pool_option"]

_UNITS = {
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("m", "min", "minute"), 60.0),
    **dict.fromkeys(("h", "hour"), 3600.0),
    **dict.fromkeys(("d", "day"), 86400.0),
}
_RATE = re.compile(r"\s*(\d{1,7})\s*/\s*(\d{0,5})\s*([a-z]+)\s*", re.ASCII)
_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` starts in any span of `seconds`."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PoolUse:
    """How many slots of which pool a step takes while it is under way."""

    pool: str
    slots: int = 1


@dataclass(frozen=True, slots=True)
class StepUse:
    """What a step takes while it is under way: a slot of its executor's lane, and slots of a pool."""

    pool: PoolUse | None = None
    executor: Lane = "process"


class Pool:
    """`pool=Pool("warehouse", slots=2)`: a step that takes several slots of a pool; `pool="warehouse"` takes one.

    How many slots there are is a setting: `[pools] warehouse = 4`.
    """

    def __init__(self, name: str, *, slots: int = 1) -> None:
        check_name(expect(name, (str,), "Pool(name)"), what="pool", identifier=False)
        expect(slots, (int,), "Pool(slots=)")
        if isinstance(slots, bool) or not 1 <= slots <= _MOST:
            raise DefinitionError(f"Pool({name!r}, slots={slots}) is out of range", hint=f"slots from 1 to {_MOST}")
        self.use = PoolUse(name, slots)


def pool_option(pool: str | Pool | None, what: str) -> dict[str, Any]:
    """The part of a spec that `pool=` says. Raises `DefinitionError`."""
    expect(pool, (str, Pool, NoneType), what, 'write pool="warehouse", or Pool("warehouse", slots=2)')
    if pool is None:
        return {}
    if isinstance(pool, str):
        pool = Pool(pool)
    return {"pool": pool.use.pool, "slots": pool.use.slots}


def parse_rate(text: object) -> Rate:
    """`"100/min"`, `"5/s"`, `"1000/day"`, `"10/15min"`. Raises `DefinitionError`."""
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    unit = None if found is None else _UNITS.get(found[3]) or _UNITS.get(found[3].removesuffix("s"))
    if found is None or unit is None or not 1 <= int(found[1]) <= _MOST or found[2].strip("0") == "" != found[2]:
        raise DefinitionError(
            f"{text!r} is no rate", hint=f'write "100/min", "5/s", "1000/day" or "10/15min": up to {_MOST:,} of a span'
        )
    return Rate(int(found[1]), unit * int(found[2] or 1))
