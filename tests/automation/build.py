"""Short ways to write graphs."""

from __future__ import annotations

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions, validate
from freshet.definitions.mapping import Mapping
from freshet.definitions.partitions import DynamicPartitions, PartitionsSpec

EAGER = AutomationCondition.eager()
ON_LAPSE = AutomationCondition.on_lapse()
BATCHES = DynamicPartitions("batches")


def node(
    name: str,
    *above: str | tuple[str, Mapping],
    partitions: PartitionsSpec | None = None,
    automation: AutomationCondition | None = None,
    within: float | None = None,
    each: float | None = None,
) -> AssetSpec:
    """An asset below `above`. `within`: a policy; `each`: one for each partition."""
    deps = tuple(DepSpec(one) if isinstance(one, str) else DepSpec(one[0], None, one[1]) for one in above)
    freshness = None if within is None else FreshnessSpec(within)
    if each is not None:
        freshness = FreshnessSpec(each, per_partition=True)
    return AssetSpec(name, deps, partitions, freshness=freshness, automation=automation)


def graph(*assets: AssetSpec) -> Definitions:
    """Checked."""
    definitions = Definitions(assets=assets)
    assert not validate(definitions)
    return definitions


def orders(automation: AutomationCondition = EAGER) -> Definitions:
    """raw_orders and clean_orders by batch, sales over all batches."""
    return graph(
        node("raw_orders", partitions=BATCHES),
        node("clean_orders", "raw_orders", partitions=BATCHES, automation=EAGER),
        node("sales", "clean_orders", automation=automation),
    )
