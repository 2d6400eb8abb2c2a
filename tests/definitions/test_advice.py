"""What `freshet check` warns of: each is allowed, and never does what it seems to."""

from __future__ import annotations

from typing import Any

import pytest

from freshet import Asset, AutomationCondition, DynamicPartitions, Freshness, Sensor, asset, external_asset
from freshet.definitions.advice import advice
from freshet.definitions.graph import Definitions
from freshet_sensors import AssetSensor, RunStatusSensor

C = AutomationCondition
HOUR = Freshness(within="1h")


def _below(condition: AutomationCondition | None, freshness: Freshness | None = None) -> Asset:
    @asset(automation=condition, freshness=freshness, group="marts", tags={"kind": "sum"})
    def made(raw: int) -> int:
        return raw

    return made


def _raw(freshness: Freshness | None = None) -> Asset:
    @asset(freshness=freshness, group="staging", tags={"kind": "noisy"})
    def raw() -> int:
        return 1

    return raw


def _said(*things: Any) -> list[str]:
    assets = tuple(one.spec for one in things if not isinstance(one, Sensor))
    sensors = tuple(one.spec for one in things if isinstance(one, Sensor))
    found = list(advice(Definitions(assets=assets, sensors=sensors)))
    assert all(one.hint and one.file == __file__ for one in found)
    return [one.message for one in found]


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (C.freshness_lapsed() | C.missing(), "freshness_lapsed() never comes: it has no freshness policy"),
        (C.freshness_passed(), "freshness_passed() never comes: it has no freshness policy"),
        (C.freshness_warned(), "freshness_warned() never comes: it has no freshness policy"),
        (C.upstream_lapsed(), "upstream_lapsed() never comes: no asset above it has a freshness policy"),
    ],
)
def test_a_condition_on_a_policy_that_there_is_not(condition: AutomationCondition, says: str) -> None:
    assert _said(_raw(), _below(condition)) == [f"asset 'made': {says}"]
    assert _said(_raw(HOUR), _below(condition, HOUR)) == []


def test_a_condition_on_the_policy_of_another_asset_is_not_about_ones_own() -> None:
    lapsed = C.freshness_lapsed()
    assert _said(_raw(HOUR), _below(C.any_deps_match(lapsed))) == []
    assert _said(_raw(HOUR), _below(C.asset_matches("raw", lapsed))) == []


def test_a_choice_that_names_nobody() -> None:
    for one in (C.eager().ignore("group:stagin"), C.eager().allow("tag:kind=nosy", "raw")):
        (said,) = advice(Definitions(assets=(_raw().spec, _below(one).spec)))
        assert "asset 'made': its condition allows or ignores '" in said.message
        assert said.hint in ("did you mean 'group:staging'?", "did you mean 'tag:kind=noisy'?")
    for one in (C.eager().ignore("group:staging"), C.eager().allow("tag:kind=noisy", "tag:kind", "raw")):
        assert _said(_raw(), _below(one)) == []


@pytest.mark.parametrize(
    "condition",
    [
        C.any_deps_updated().since_last_handled() & ~C.in_progress(),
        C.any_deps_match(C.newly_updated()).when_deps_ready() | C.cron_tick_passed("@daily", "UTC"),
        (C.any_deps_match(C.newly_updated()) | C.any_deps_missing()).debounce("10s"),
    ],
)
def test_what_waits_for_dependencies_that_there_are_not(condition: AutomationCondition) -> None:
    @asset(automation=condition)
    def lone() -> int:
        return 1

    assert _said(lone) == ["asset 'lone': any_deps_match(newly_updated) never comes: it has no dependencies"]
    assert _said(_raw(), _below(condition)) == []
    (said,) = _said(_raw(), _below(C.any_deps_updated().ignore("raw")))
    assert said.endswith(
        "any_deps_match(newly_updated).ignore('raw') never comes: it has no dependencies of those that it chooses"
    )


@pytest.mark.parametrize(
    "condition",
    [C.eager(), C.on_missing(), C.on_cron("@daily", "UTC"), ~C.any_deps_missing() & C.newly_missing(), C.missing()],
)
def test_what_comes_without_dependencies_too(condition: AutomationCondition) -> None:
    @asset(automation=condition)
    def lone() -> int:
        return 1

    assert _said(lone) == []


def test_a_policy_for_each_partition_of_an_asset_that_has_none() -> None:
    each = Freshness(within="1h", per_partition=True)
    (said,) = _said(_raw(each))
    assert said == "asset 'raw': Freshness(per_partition=True) says nothing of an asset without partitions"
    assert _said(external_asset("orders", partitions=DynamicPartitions("shops"), freshness=each)) == []


def test_a_sensor_that_waits_for_a_lapse_that_cannot_come() -> None:
    alarm = AssetSensor("alarm", assets=["raw", "made"], on=["lapsed", "failed"], target="page")
    spent = AssetSensor("spent", asset="made", on="exhausted", target="page")
    assert _said(_raw(), _below(None), alarm) == [
        "sensor 'alarm': freshness_lapsed never comes: nothing that it listens to has a freshness policy"
    ]
    assert _said(_raw(HOUR), _below(None), alarm) == []
    assert _said(_raw(HOUR), _below(None), spent) == [
        "sensor 'spent': refresh_exhausted never comes: nothing that it listens to is refreshed by on_lapse()"
    ]
    assert _said(_raw(HOUR), _below(C.on_lapse()), spent) == []
    assert _said(_raw(), _below(None), RunStatusSensor("notifier", targets=["page"], target="tell")) == []
