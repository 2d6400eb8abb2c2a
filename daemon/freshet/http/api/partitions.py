"""Partition sets and their keys."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request

from freshet.definitions.names import nearest_hint
from freshet.definitions.partitions import PartitionsSpec, TimePartitions
from freshet.engine.partitions.page import PartitionFilter, PartitionsQuery
from freshet.errors import Conflict
from freshet.http.api.context import After, Api, Context, Limit, known
from freshet.http.api.convert import partition_answer
from freshet.http.api.keystream import form_of, in_lines, pieces_of, read_body
from freshet.http.models import (
    AddPartitionsBody,
    DeletePartitionsBody,
    PartitionsChanged,
    PartitionSetAnswer,
    PartitionsPage,
)
from freshet.store import queries
from freshet.store.records import PartitionDelta, names_of

__all__ = ["check_dynamic", "router"]

router = APIRouter(prefix="/partitions", tags=["partitions"])


@router.get("")
async def list_sets(api: Api) -> tuple[PartitionSetAnswer, ...]:
    """All partition sets that are declared, by name."""
    sets, count = api.control.definitions.partition_set, api.control.partition_count
    return tuple(
        PartitionSetAnswer(name=name, kind=sets[name].kind, count=count(name), assets=_assets(api, name))
        for name in sorted(sets)
    )


@router.get("/{name}")
async def list_keys(
    api: Api,
    name: str,
    limit: Limit = 100,
    after: After = 0,
    last: Annotated[int | None, Query(ge=1, le=1000, description="the last so many, in place of a page")] = None,
    state: PartitionFilter | None = None,
    asset: str | None = None,
) -> PartitionsPage:
    """Keys of a set in order of their numbers (windows: of time), each with its state in every asset over the set.

    `state`: only those in this state of `asset`, which may be left out where there is one asset over the set: how they
    are made; where its freshness policy is for each, `warn` or `lapsed`; or `held` back by its blocking checks.
    """
    spec = known(api.control.definitions.partition_set, name, "partition set")
    assets = _assets(api, name)
    if last is not None and after:
        raise Conflict("last= is no page: it does not go with after=", hint="leave one of them out")
    query = PartitionsQuery(_stating(name, assets, state, asset), state, after, limit, last)
    numbers = api.control.partitions(name, query)
    keys = spec.keys if isinstance(spec, TimePartitions) else None
    read = partial(queries.numbered_partitions, set=name, numbers=numbers, assets=assets, keys=keys)
    rows = await api.control.store.read(read)
    found = tuple(partition_answer(api.control.definitions, row) for row in rows)
    more = last is None and len(numbers) == limit
    return PartitionsPage(set=name, partitions=found, next=numbers[-1] if more else None)


def _stating(name: str, assets: tuple[str, ...], state: PartitionFilter | None, asset: str | None) -> str | None:
    """The asset whose states are meant. Raises `Conflict` where it is none over the set, and where it is not clear."""
    if asset is not None and asset not in assets:
        raise Conflict(f"{asset!r} is no asset over the partition set {name!r}", hint=nearest_hint(asset, assets))
    if asset is not None and state is None:
        raise Conflict(
            "asset= goes with state=",
            hint="say which: missing, materialized, failed, in_progress, warn, lapsed or held",
        )
    if state is None or asset is not None:
        return asset
    if not assets:
        raise Conflict(f"there is no asset over the partition set {name!r}", hint="leave state= out")
    if len(assets) > 1:
        said = f"of which asset? There are {len(assets)} over the partition set {name!r}"
        raise Conflict(said, hint=f"name one with asset=: {', '.join(assets[:8])}")
    return next(iter(assets))


@router.post("/{name}", openapi_extra=in_lines(AddPartitionsBody))
async def add_keys(api: Api, name: str, request: Request) -> PartitionsChanged:
    """Add keys to a dynamic set; keys that are there get the new metadata. All of them, or none.

    Many are best streamed: as `application/x-ndjson`, each line a JSON string or an object with `key` and `metadata`;
    or as `text/plain`, a key a line.
    """
    check_dynamic(known(api.control.definitions.partition_set, name, "partition set"))
    form = form_of(request)
    if form == "json":
        body = await read_body(request, AddPartitionsBody)
        return PartitionsChanged(set=name, changed=await api.control.add_partitions(name, body.keys))
    deltas = (PartitionDelta(name, add=pairs) async for pairs in pieces_of(request, form))
    return PartitionsChanged(set=name, changed=await api.control.change_partitions(name, deltas))


@router.delete("/{name}", openapi_extra=in_lines(DeletePartitionsBody))
async def delete_keys(api: Api, name: str, request: Request) -> PartitionsChanged:
    """Take keys out of a dynamic set; their history stays. Many are best streamed, as for adding them."""
    check_dynamic(known(api.control.definitions.partition_set, name, "partition set"))
    form = form_of(request)
    if form == "json":
        body = await read_body(request, DeletePartitionsBody)
        return PartitionsChanged(set=name, changed=await api.control.delete_partitions(name, body.keys))
    pieces = pieces_of(request, form)
    deltas = (PartitionDelta(name, delete=names_of(pairs)) async for pairs in pieces)
    return PartitionsChanged(set=name, changed=await api.control.change_partitions(name, deltas))


def check_dynamic(spec: PartitionsSpec) -> None:
    """Raise `Conflict` for a set whose keys nobody adds or deletes, with what decides them instead."""
    match spec.kind:
        case "static":
            raise Conflict(f"the partitions {spec.name!r} are static", hint="edit their list in the plugin")
        case "time":
            raise Conflict(
                f"the partitions {spec.name!r} are windows of time, which come by themselves",
                hint="start= and end_offset= in the plugin say which are there",
            )
        case "multi":
            raise Conflict(
                f"the partitions {spec.name!r} are combinations, which come with their dimensions",
                hint="add or delete keys of a dimension that is dynamic",
            )
        case "dynamic":
            pass


def _assets(api: Context, name: str) -> tuple[str, ...]:
    assets = api.control.definitions.assets
    return tuple(sorted(one.name for one in assets if one.partitions is not None and one.partitions.name == name))
