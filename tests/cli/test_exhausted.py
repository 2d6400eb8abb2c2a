"""What `freshet assets` says of a refresh that is given up."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from tests.support.served import ServedEngine, served_engine

from freshet import AutomationCondition, Freshness, asset, external_asset

orders = external_asset("orders", freshness=Freshness(within="1h"))


@asset(deps=[orders], automation=AutomationCondition.on_lapse(attempts=1))
def takings() -> float:
    raise ValueError("no takings today")


@pytest.fixture
def served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Generator[ServedEngine]:
    with served_engine(tmp_path, [orders, takings], capsys) as one:
        yield one


def test_an_asset_without_a_policy_of_its_own_shows_it_too(served: ServedEngine) -> None:
    served.cli("report", "orders")
    (before,) = [line for line in served.cli("assets").out.splitlines() if line.startswith("takings")]
    assert "exhausted" not in before
    served.advance(3600.0 + 60.0)
    (after,) = [line for line in served.cli("assets").out.splitlines() if line.startswith("takings")]
    assert after.rstrip().endswith("exhausted")
