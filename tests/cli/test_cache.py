"""What `freshet runs` says of a step that need not run, and how it is made to run again."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from tests.support.served import ServedEngine, served_engine

from freshet import CacheKey, StaticPartitions, asset

COUNTRIES = StaticPartitions(["de", "fr"], name="countries")


@asset(partitions=COUNTRIES, cache=CacheKey(ttl="1d"))
def rates() -> float:
    return 1.5


@pytest.fixture
def served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Generator[ServedEngine]:
    with served_engine(tmp_path, [rates], capsys) as one:
        yield one


def test_a_step_that_need_not_run_says_so_until_it_is_forgotten(served: ServedEngine) -> None:
    for key in ("de", "fr", "de"):
        served.cli("materialize", "rates", "--partition", key)
        served.advance(1.0)
    assert "as in run 1" in served.cli("runs", "3").out
    assert served.cli("runs", "3", "--json").json["steps"][0]["cached"] == 1
    assert served.cli("cache", "clear", "rates", "-p", "de").out == "rates de: 1 forgotten\n"
    assert served.cli("cache", "clear", "rates", "-p", "de").out == "rates de: nothing was forgotten\n"
    served.cli("materialize", "rates", "--partition", "de")
    served.advance(1.0)
    assert "as in run" not in served.cli("runs", "4").out
    assert served.cli("cache", "clear", "rates", "--json").json == {"asset": "rates", "partition": None, "forgotten": 2}


def test_what_is_not_there_is_told(served: ServedEngine) -> None:
    assert "did you mean 'rates'?" in served.cli("cache", "clear", "rate").err
    assert "has no partition 'es'" in served.cli("cache", "clear", "rates", "-p", "es").err
