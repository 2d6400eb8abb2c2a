"""Assets: what is declared, and how it stands."""

from __future__ import annotations

from collections.abc import Sequence

from anyio import to_thread
from fastapi import APIRouter

from freshet.definitions.asset import AssetSpec
from freshet.definitions.names import check_version
from freshet.errors import Conflict
from freshet.http.api.context import Api, Context, known
from freshet.http.api.convert import asset_answer
from freshet.http.api.items import clear_items
from freshet.http.models import AssetAnswer, CacheCleared, ReportAnswer, ReportBody
from freshet.store.queries import asset_summaries
from freshet.store.records import ReportedMaterialization

__all__ = ["router"]

router = APIRouter(prefix="/assets", tags=["assets"])


@router.get("")
async def list_assets(api: Api) -> tuple[AssetAnswer, ...]:
    """All assets, by name."""
    return await _answers(api, sorted(api.control.definitions.assets, key=lambda spec: spec.name))


@router.get("/{name}")
async def get_asset(api: Api, name: str) -> AssetAnswer:
    """One asset."""
    return (await _answers(api, [known(api.control.definitions.asset, name, "asset")]))[0]


@router.post("/{name}/report", status_code=201)
async def report(api: Api, name: str, body: ReportBody) -> ReportAnswer:
    """Say that an asset was made elsewhere: durable when this answers. Conditions and freshness take it for a
    materialization, unless it says `at` and that is not later than what is known of the partition."""
    known(api.control.definitions.asset, name, "asset")
    version = None if body.data_version is None else check_version(body.data_version, what="data_version")
    given = ReportedMaterialization(name, body.partition, metadata=body.metadata, data_version=version, at=body.at)
    return ReportAnswer(asset=name, partition=body.partition, counted=await api.control.report_made(given))


@router.delete("/{name}/cache")
async def clear_cache(api: Api, name: str, partition: str | None = None) -> CacheCleared:
    """Forget what was made of an asset with `cache=`, or of one partition of it: what comes next is made anew. Without
    a partition, what an asset or a job has made of the items of `ctx.map(cache=)`, too."""
    forgotten = 0
    if name not in api.control.definitions.job:
        known(api.control.definitions.asset, name, "asset")
        forgotten = await api.control.clear_cache(name, partition)
    elif partition is not None:
        raise Conflict(f"the job {name!r} has no partitions", hint="leave the partition out")
    if partition is None:
        forgotten += await to_thread.run_sync(clear_items, api.state_dir, name)
    return CacheCleared(asset=name, partition=partition, forgotten=forgotten)


async def _answers(api: Context, specs: Sequence[AssetSpec]) -> tuple[AssetAnswer, ...]:
    found = {row.asset: row for row in await api.control.store.read(asset_summaries)}
    now = api.control.status().now
    return tuple(
        asset_answer(api.control.definitions, spec, found[spec.name], api.control.asset_counts(spec.name), now)
        for spec in specs
        if spec.name in found
    )
