"""What was committed and not looked at before a crash is looked at after it, and asks for nothing twice."""

from __future__ import annotations

from pyroaring import BitMap

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions
from freshet.engine.automation import Automation
from freshet.store.records import AssetBits, Event, FreshnessRow

DEFINITIONS = Definitions(
    assets=(
        AssetSpec("source", freshness=FreshnessSpec(within=60.0)),
        AssetSpec("echo", deps=(DepSpec("source"),), automation=AutomationCondition.on_lapse()),
    )
)
POLICY = {"within": 60.0, "warn": None}


def _event(seq: int, kind: str, asset: str, run_id: int | None = None) -> Event:
    return Event(seq=seq, txn=seq, at=100.0 + seq, type=kind, asset=asset, partition=0, run_id=run_id)


def test_a_request_that_committed_after_what_came_meanwhile_is_not_made_again() -> None:
    """The lapse was looked at; before the request for it committed, the source was materialized; then a crash."""
    nothing, one = BitMap(), BitMap([0])
    before = Automation(DEFINITIONS)
    fresh = FreshnessRow("source", 0, POLICY, since=0.0, baseline_seq=1, baseline_at=30.0, state="fresh")
    before.load({"source": AssetBits(one, nothing, nothing, 1)}, {}, [], [fresh], seq=1)
    chunks = {(one.asset, one.node, one.chunk): one for one in before.timer(100.0).chunks}
    asked = before.evaluate([_event(2, "freshness_lapsed", "source")], 102.0)
    assert [request.assets for request in asked.requests] == [("echo",)]
    chunks |= {(one.asset, one.node, one.chunk): one for one in asked.chunks}

    after = Automation(DEFINITIONS)
    behind = [_event(3, "materialized", "source"), _event(4, "requested", "echo", run_id=9)]
    bits = {"source": AssetBits(one, nothing, nothing, 3), "echo": AssetBits(nothing, nothing, one)}
    lapsed = FreshnessRow("source", 0, POLICY, since=0.0, baseline_seq=1, baseline_at=30.0, state="lapsed")
    after.load(bits, {}, list(chunks.values()), [lapsed], seq=2, behind=behind)
    for event in behind:
        assert after.evaluate([event], event.at).requests == ()
    assert after.timer(110.0).requests == ()
