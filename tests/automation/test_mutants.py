"""The random machine finds each fault that is put in by hand: where it does not, it is too weak."""

from __future__ import annotations

import os

import pytest
from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.automation.mutants import MUTANTS, Mutant
from tests.automation.test_against_reference import Agreement, common

EXAMPLES = int(os.environ.get("FRESHET_MUTANTS", "3000"))


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_the_machine_finds(mutant: Mutant) -> None:
    """`FRESHET_MUTANTS`: how many graphs it may take."""
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=40,
        database=None,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
        **common,
    )
    with mutant.at_work(), pytest.raises(Exception):  # noqa: B017  # it may fail in any way
        run_state_machine_as_test(seed(1)(Agreement), settings=chosen)


def test_every_mutant_is_a_change_that_compiles() -> None:
    for mutant in MUTANTS:
        with mutant.at_work():
            pass
