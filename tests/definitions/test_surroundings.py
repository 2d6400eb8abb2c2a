"""`memory=`, `env=`, `cwd=` and `Retries(on=)`: what is taken, and what is refused with the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet import DefinitionError, Retries, asset, job
from freshet.definitions.retries import is_retried
from freshet.definitions.sizes import format_size, parse_size
from freshet.definitions.surroundings import Surroundings


def test_they_are_plain_data() -> None:
    @asset(memory="512MiB", env={"PGAPPNAME": "sales"}, cwd=Path("work"))
    def one() -> None: ...

    @job(memory="1.5GB")
    def two() -> None: ...

    @job
    def three() -> None: ...

    assert one.spec.surroundings == Surroundings(512 * 2**20, {"PGAPPNAME": "sales"}, "work")
    assert two.spec.surroundings == Surroundings(1_500_000_000)
    assert three.spec.surroundings is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"memory": 512}, "asset one: memory takes a text, not 512"),
        ({"memory": "512"}, "asset one: memory: '512' is no amount of memory"),
        ({"memory": "5 parsecs"}, "'5 parsecs' is no amount"),
        ({"memory": "1KiB"}, "'1KiB' is less than any step needs"),
        ({"env": ["A"]}, "asset one: env takes a dict"),
        ({"env": {"A": 1}}, "asset one: env['A'] takes a text, not 1"),
        ({"env": {"A=B": "c"}}, "'A=B' is no name of a variable"),
        ({"cwd": 3}, "asset one: cwd takes a text or Path"),
        ({"cwd": ""}, "asset one: cwd: '' is no path"),
    ],
)
def test_what_is_none_of_that_is_refused(given: dict[str, Any], said: str) -> None:
    def one() -> None: ...

    with pytest.raises(DefinitionError) as refused:
        asset(**given)(one)
    assert said in refused.value.message
    assert refused.value.hint


@given(st.integers(1, 999), st.sampled_from(["B", "KiB", "MiB", "GiB", "TiB"]))
def test_a_size_is_shown_as_it_is_written(number: int, unit: str) -> None:
    shown = format_size(parse_size(f"{number}{unit}", what="x"))
    assert shown == f"{number} {unit}"


class Ours(ConnectionError):
    """One of the plugin's own."""


@pytest.mark.parametrize(
    ("on", "error", "retried"),
    [
        ((), ValueError(), True),
        (ValueError, ValueError(), True),
        (ValueError, UnicodeError(), True),
        (UnicodeError, ValueError(), False),
        ("OSError", Ours(), True),
        ("IOError", OSError(), False),
        ("builtins.OSError", Ours(), True),
        (Ours, Ours(), True),
        (f"{__name__}.Ours", Ours(), True),
        ("Ours", Ours(), False),
        ((KeyError, "OSError"), Ours(), True),
        (OSError, ExceptionGroup("both", [Ours(), OSError()]), True),
        (OSError, ExceptionGroup("one", [Ours(), KeyError()]), False),
        (ExceptionGroup, ExceptionGroup("one", [Ours(), KeyError()]), True),
        (SystemExit, SystemExit(1), True),
    ],
)
def test_on_names_an_exception_or_a_base_of_it(on: Any, error: BaseException, retried: bool) -> None:
    assert is_retried(Retries(3, on=on).spec, error) is retried


@pytest.mark.parametrize("on", [3, [3], [int], "no name", ["", "ValueError"], ValueError("made")])
def test_on_takes_exceptions_and_names(on: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Retries\(on=\)") as refused:
        Retries(3, on=on)
    assert "ConnectionError" in refused.value.hint
