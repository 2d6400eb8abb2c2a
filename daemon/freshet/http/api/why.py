"""Why an asset is made, or is not."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from freshet.engine.why import NodeView
from freshet.http.api.context import Api
from freshet.http.api.convert import event_answer, run_answer
from freshet.http.models import DependencyAnswer, GateAnswer, MakerAnswer, PromiseAnswer, SomeAnswer, WhyAnswer, WhyNode

__all__ = ["router"]

router = APIRouter(prefix="/assets", tags=["assets"])


@router.get("/{name}/why")
async def why(
    api: Api, name: str, partition: Annotated[str | None, Query(description="its key [the newest partition]")] = None
) -> WhyAnswer:
    """Why a partition is made, or is not: its condition with the values of all nodes and the events that they rest on,
    how its dependencies stand, what would be needed, and the last run with what holds it up."""
    view = await api.control.why(name, partition)
    return WhyAnswer(
        asset=view.asset,
        external=view.external,
        partition=view.partition,
        partitions=view.partitions,
        now=view.now,
        freshness=None
        if view.freshness is None
        else PromiseAnswer.model_validate(view.freshness, from_attributes=True),
        definitions_version=view.definitions_version,
        state=view.state,
        condition=view.condition,
        tree=None if view.tree is None else _node(view.tree),
        needs=view.needs,
        dependencies=tuple(DependencyAnswer.model_validate(one, from_attributes=True) for one in view.dependencies),
        makers=tuple(MakerAnswer.model_validate(one, from_attributes=True) for one in view.makers),
        added_at=view.added_at,
        reported=None if view.reported is None else event_answer(view.reported),
        run=None if view.run is None else run_answer(view.run, view.blocked),
        earlier=view.earlier,
        gates=tuple(GateAnswer.model_validate(one, from_attributes=True) for one in view.gates),
        stopped=None if view.stopped is None else event_answer(view.stopped),
    )


def _node(view: NodeView) -> WhyNode:
    return WhyNode(
        asset=view.asset,
        kind=view.kind,
        expression=view.expression,
        label=view.label,
        value=view.value,
        asked=view.asked,
        true_of=SomeAnswer.model_validate(view.true_of, from_attributes=True),
        since=view.since,
        until=view.until,
        attempts=view.attempts,
        event=None if view.event is None else event_answer(view.event),
        children=tuple(map(_node, view.children)),
    )
