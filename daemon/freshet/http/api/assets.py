"""Assets: what is declared, and how it stands."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from freshet.definitions.asset import AssetSpec
from freshet.http.api.context import Api, Context, known
from freshet.http.api.convert import asset_answer
from freshet.http.models import AssetAnswer
from freshet.store.queries import asset_summaries

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


async def _answers(api: Context, specs: Sequence[AssetSpec]) -> tuple[AssetAnswer, ...]:
    found = {row.asset: row for row in await api.control.store.read(asset_summaries)}
    now = api.control.status().now
    return tuple(
        asset_answer(api.control.definitions, spec, found[spec.name], api.control.asset_counts(spec.name), now)
        for spec in specs
        if spec.name in found
    )
