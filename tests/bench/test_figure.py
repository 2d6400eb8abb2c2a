"""What the benchmarks make of the values that they measure. No test holds a time against a bar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bench.figure import Bar, Row, Summary, percentile
from tests.bench.figures import FIGURES
from tests.bench.report import table

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=300)


@given(VALUES, st.floats(0, 1))
def test_a_percentile_is_a_value_that_enough_others_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(sorted(values), share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < max(1, share * len(values))


@given(VALUES)
def test_a_summary_stays_within_its_values(values: list[float]) -> None:
    found = Summary.of(values)
    assert found.count == len(values)
    assert min(values) == found.low <= found.median <= found.high == max(values)
    assert found.median <= found.p99


@pytest.mark.parametrize(
    ("bar", "met", "text"),
    [
        (Bar(median=2), True, "<= 2"),
        (Bar(median=1.9), False, "<= 1.9"),
        (Bar(median=2, p99=3), True, "<= 2, p99 <= 3"),
        (Bar(median=2, p99=2.5), False, "<= 2, p99 <= 2.5"),
        (Bar(median=2, at_least=True), True, ">= 2"),
        (Bar(median=2.1, at_least=True), False, ">= 2.1"),
    ],
)
def test_a_bar_is_held_against_what_it_names(bar: Bar, met: bool, text: str) -> None:
    row = Row.of("it", "ms", [1, 2, 3], bar)
    assert row.met is met
    assert str(bar) == text
    assert ("yes" if met else "NO") == table([row]).split()[-1]


def test_every_figure_goes_by_its_name() -> None:
    assert all(figure.name == name and figure.about for name, figure in FIGURES.items())
