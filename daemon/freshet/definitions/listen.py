"""What happens inside, as a sensor sees it: which events it listens to, and each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from freshet.definitions.asset import Asset
from freshet.definitions.job import Job
from freshet.definitions.names import nearest_hint
from freshet.definitions.outcome import Json
from freshet.errors import DefinitionError

__all__ = ["RUN_TYPES", "Happened", "Happenings", "Listen", "ListenType"]

ListenType = Literal[
    "materialized",
    "failed",
    "freshness_warned",
    "freshness_lapsed",
    "freshness_restored",
    "refresh_exhausted",
    "refresh_recovered",
    "check_passed",
    "check_failed",
    "run_succeeded",
    "run_failed",
    "run_canceled",
]

RUN_TYPES: frozenset[str] = frozenset({"run_succeeded", "run_failed", "run_canceled"})
"""The events that are about a run as a whole; the others are about an asset."""


@dataclass(frozen=True)
class Listen:
    """The events that wake a sensor. `types`: what happens. `assets`: of which, None for all; of `run_...`, the run's
    target: an asset or a job. Raises `DefinitionError`."""

    types: tuple[ListenType, ...]
    assets: tuple[str, ...] | None = None

    def __init__(
        self, types: ListenType | Iterable[ListenType], assets: Iterable[str | Asset | Job] | None = None
    ) -> None:
        given: tuple[Any, ...] = (types,) if isinstance(types, str) else tuple(types)
        if not given:
            raise DefinitionError("Listen(types=) is empty", hint=f"choose from {', '.join(get_args(ListenType))}")
        for one in given:
            if one not in get_args(ListenType):
                hint = nearest_hint(str(one), get_args(ListenType))
                raise DefinitionError(f"Listen(types=): there is no event {one!r}", hint=hint)
        object.__setattr__(self, "types", given)
        object.__setattr__(self, "assets", None if assets is None else _names(assets))


@dataclass(frozen=True)
class Happened:
    """A committed event. `seq`: its number, in the order of commits. `asset`: None for `run_...`. `partition`: the key
    of the asset's or run's; `live`: it is not deleted. `run`: the id of the run that made it so, if one did;
    `depth`: how many automatic runs led to the event, that one among them.

    `data`: of `materialized`, `begun` (epoch seconds) and, where there are any, the `metadata` that was told, the
    `version` of the data, and `same` (True) where that is what the partition had before; of `failed` and `run_failed`,
    `error` with `type`, `message` and `step`; of `check_...`, the name of the `check`, its `severity` and `metadata`;
    of `run_...`, also the run's `kind`, `target`, `origin` and `tags`.
    """

    seq: int
    at: datetime
    type: ListenType
    asset: str | None = None
    partition: str | None = None
    run: int | None = None
    data: Json = None
    live: bool = True
    depth: int = 0


class Happenings(tuple[Happened, ...]):
    """Some events in order. `seq`: all up to here were looked at, so that the next question is `after=` it.
    `last`: the newest event of all there are; `more`: not all were looked at."""

    seq: int = 0
    last: int = 0

    @classmethod
    def of(cls, found: Iterable[Happened], *, seq: int, last: int) -> Happenings:
        """These, and how far that is."""
        made = cls(found)
        made.seq, made.last = seq, last
        return made

    @property
    def more(self) -> bool:
        """Whether events wait behind `seq`."""
        return self.seq < self.last


def _names(assets: Iterable[str | Asset | Job]) -> tuple[str, ...]:
    given: list[Any] = [assets] if isinstance(assets, str) else list(assets)
    names = list[str]()
    for one in given:
        if not isinstance(one, str | Asset | Job):
            raise DefinitionError(f"Listen(assets=): {one!r} is no asset", hint="give assets or their names, in a list")
        names.append(one if isinstance(one, str) else one.spec.name)
    if not names:
        raise DefinitionError("Listen(assets=) is empty", hint="name assets, or leave it out for all")
    return tuple(dict.fromkeys(names))
