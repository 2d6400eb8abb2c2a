"""Which partitions of which assets a backfill wants: algebra on bitmaps, nothing enumerated. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pyroaring import BitMap

from freshet.definitions.graph import Definitions
from freshet.engine.backfill.plan import joined
from freshet.engine.partitions.graph import PartitionGraph
from freshet.engine.requests import check_makable, find_asset
from freshet.errors import Conflict
from freshet.store.records import BackfillRow

__all__ = ["BackfillRequest", "check_request", "check_wanted", "runs_in_all", "spread", "wanted_by"]

Selecting = Literal["partitions", "all", "missing", "failed"]


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """A backfill asked for. `partitions`: the text of a range or of keys, with `select="partitions"` alone.
    `upstream`, `downstream`: what lies above and below the named assets, too. `retry_of`: of which backfill this is
    what was not made. `since`: the last event before it (or what it retries) began; with "missing", what is made of the
    named assets after that counts as done."""

    assets: tuple[str, ...]
    select: Selecting
    partitions: str | None = None
    upstream: bool = False
    downstream: bool = False
    single_run: bool = False
    priority: int = 0
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    retry_of: int | None = None
    since: int = 0

    @classmethod
    def of(cls, row: BackfillRow) -> BackfillRequest:
        """As it was asked for."""
        old = row.request
        return cls(
            tuple(old["assets"]),
            old["select"],
            old["partitions"],
            old["upstream"],
            old["downstream"],
            old["single_run"],
            row.priority,
            row.tags,
            old["retry_of"],
            old["since"],
        )

    def shown(self, sets: Mapping[str, str | None]) -> dict[str, Any]:
        """What is remembered of it. `sets`: by asset that it wants something of, the set of the numbers."""
        return {
            "assets": list(self.assets),
            "select": self.select,
            "partitions": self.partitions,
            "upstream": self.upstream,
            "downstream": self.downstream,
            "single_run": self.single_run,
            "retry_of": self.retry_of,
            "since": self.since,
            "sets": dict(sets),
        }


def check_request(definitions: Definitions, request: BackfillRequest) -> None:
    """Raise `UnknownName` or `Conflict` for a request that nothing can come of."""
    if not request.assets:
        raise Conflict("a backfill of no assets", hint="name at least one")
    for name in request.assets:
        check_makable(find_asset(definitions, name))
    if (request.select == "partitions") != (request.partitions is not None):
        raise Conflict(
            "a backfill has exactly one selection", hint="give --partitions, --all, --missing or --failed, one of them"
        )
    first = definitions.asset[request.assets[0]]
    if request.partitions is not None and first.partitions is None:
        raise Conflict(f"the asset {first.name!r} has no partitions", hint="use --all in place of --partitions")


def wanted_by(
    graph: PartitionGraph, request: BackfillRequest, chosen: BitMap | None, facts: Mapping[str, BitMap]
) -> dict[str, BitMap]:
    """By asset, what is wanted, in dependency order; of some it may be nothing.

    `chosen`: of the first asset's set, with `select="partitions"`. `facts`: by named asset, the materialized
    partitions for "missing", the failed ones for "failed". Raises `Conflict` for an asset that the range does not
    reach.
    """
    named = dict.fromkeys(request.assets)
    start: dict[str, BitMap] = {}
    for name in named:
        live = graph.live(name)
        match request.select:
            case "all":
                start[name] = live.copy()
            case "missing":
                start[name] = live - facts[name]
            case "failed":
                start[name] = live & facts[name]
            case "partitions":
                if _set_of(graph, name) == _set_of(graph, request.assets[0]):
                    assert chosen is not None, "a range was given"
                    start[name] = chosen & live
    return spread(graph, request, start)


def spread(graph: PartitionGraph, request: BackfillRequest, start: dict[str, BitMap]) -> dict[str, BitMap]:
    """What follows from partitions of named assets: of the other named ones, and above and below where asked for."""
    if request.select == "partitions":
        others = [name for name in request.assets if name not in start]
        start = {**start, **(_reached(graph, start, others) if others else {})}
    found = {name: numbers.copy() for name, numbers in start.items()}
    if request.upstream:
        _unite(found, _upward(graph, start))
    if request.downstream:
        _unite(found, _downward(graph, start))
    made = [name for name in found if not graph.definitions.asset[name].external]
    return {name: found[name] for name in sorted(made, key=graph.definitions.position.__getitem__)}


def check_wanted(request: BackfillRequest, wanted: Mapping[str, BitMap], notes: Iterable[str] = ()) -> None:
    """Raise `Conflict` where nothing is selected; `notes`: what there is to be said of the range."""
    if not any(wanted.values()):
        said, hint = _nothing(request)
        raise Conflict(said, hint="; ".join(notes) or hint)


def runs_in_all(graph: PartitionGraph, wanted: Mapping[str, BitMap]) -> int:
    """How many runs that makes, if no dependency parts what could go together."""
    return sum(len(BitMap.union(*(wanted[name] for name in group))) for group in joined(graph, wanted))


def _reached(graph: PartitionGraph, start: dict[str, BitMap], others: list[str]) -> dict[str, BitMap]:
    """Of named assets over other sets, what mappings connect to the range."""
    up, down = _upward(graph, start), _downward(graph, start)
    found: dict[str, BitMap] = {}
    for name in others:
        if name not in up and name not in down:
            raise Conflict(
                f"{name!r} lies neither above nor below {next(iter(start))!r}, whose partitions the range is of",
                hint="make a backfill of its own of it",
            )
        found[name] = up.get(name, BitMap()) | down.get(name, BitMap())
    return found


def _upward(graph: PartitionGraph, start: Mapping[str, BitMap]) -> dict[str, BitMap]:
    found = {name: numbers.copy() for name, numbers in start.items()}
    for name in reversed(graph.definitions.select(start, upstream=True)):
        for dep in graph.definitions.asset[name].deps:
            above = graph.above(name, dep.asset, found[name])
            found[dep.asset] = found.get(dep.asset, BitMap()) | above
    return found


def _downward(graph: PartitionGraph, start: Mapping[str, BitMap]) -> dict[str, BitMap]:
    found = {name: numbers.copy() for name, numbers in start.items()}
    for name in graph.definitions.select(start, downstream=True):
        for below in graph.definitions.downstream[name]:
            reached = graph.below(below, name, found[name])
            found[below] = found.get(below, BitMap()) | reached
    return found


def _unite(found: dict[str, BitMap], more: Mapping[str, BitMap]) -> None:
    for name, numbers in more.items():
        found[name] = found.get(name, BitMap()) | numbers


def _nothing(request: BackfillRequest) -> tuple[str, str]:
    named = ", ".join(request.assets)
    match request.select:
        case "missing":
            return f"nothing of {named} is missing", "use --all to make it again"
        case "failed":
            return f"nothing of {named} has failed", "see freshet assets"
        case "partitions":
            return f"{request.partitions} holds no partition of {named}", "freshet partitions lists what there is"
        case "all":
            return f"{named} has no partitions yet", "add some: freshet partitions SET add KEY"


def _set_of(graph: PartitionGraph, asset: str) -> str | None:
    spec = graph.definitions.asset[asset].partitions
    return None if spec is None else spec.name
