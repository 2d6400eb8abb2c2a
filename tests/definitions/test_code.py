"""What an edit of a function does to its version."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from freshet import asset
from freshet.definitions.code import code_version
from freshet.errors import DefinitionError

PLAIN = "def f(raw):\n    return [row for row in raw if row['kind'] in {'a', 'b', 'c'}]\n"


def version(text: str, **names: Any) -> str:
    """Of `f` in a text."""
    exec(text, names)  # our own text
    return code_version(names["f"])


@pytest.mark.parametrize(
    "text",
    [
        f"# about it\n\n{PLAIN}",
        "def f(raw):\n    'What it does.'\n    return [row for row in raw if row['kind'] in {'a', 'b', 'c'}]\n",
        "def f(\n    raw: list,\n) -> list:\n    return [  # here\n        row for row in raw\n"
        "        if row['kind'] in {'a', 'b', 'c'}\n    ]\n",
    ],
)
def test_how_it_is_written_does_not_matter(text: str) -> None:
    assert version(text) == version(PLAIN)


def test_a_docstring_is_no_code_where_nothing_is_returned_either() -> None:
    assert version("def f():\n    'One.'\n    print(1, 'x')") == version("def f():\n    print(1, 'x')")


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("'c'", "'d'"),
        PLAIN.replace("'kind'", "'sort'"),
        PLAIN.replace(" in {", " not in {"),
        PLAIN.replace("{'a', 'b', 'c'}", "('a', 'b', 'c')"),
        PLAIN.replace("(raw)", "(raw, other=1)"),
        PLAIN.replace("def f", "async def f"),
        PLAIN.replace("return", "return raw or"),
        "def f(raw):\n    return [row for row in sorted(raw) if row['kind'] in {'a', 'b', 'c'}]\n",
    ],
)
def test_what_it_does_matters(text: str) -> None:
    assert version(text) != version(PLAIN)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("1", "True"),
        ("0.0", "-0.0"),
        ("'1'", "1"),
        ("'1'", "b'1'"),
        ("('ab', 'c')", "('a', 'bc')"),
        ("((1,), 2)", "(1, (2,))"),
        ("lambda: 1", "lambda: 2"),
        ("None", "..."),
    ],
)
def test_constants_are_told_apart(one: str, other: str) -> None:
    assert version(f"def f():\n    return {one}") != version(f"def f():\n    return {other}")
    assert version(f"def f(x={one}):\n    return x") != version(f"def f(x={other}):\n    return x")


def test_a_text_that_is_also_the_docstring_counts() -> None:
    text = "def f():\n    'one'\n    return 'one'\n"
    assert version(text) != version(text.replace("one", "two"))
    assert version(text) == version(text.replace("    'one'", "    'else'"))


def test_of_many_constants_each_counts() -> None:
    text = "def f(x):\n    return [" + ", ".join(f"x({number})" for number in range(700)) + "]\n"
    assert version(text) != version(text.replace("x(650)", "x(9650)"))


def test_what_is_caught_where_counts() -> None:
    text = "def f(x):\n    try:\n        x(1)\n        x(2)\n    except ValueError:\n        x(3)\n"
    moved = "def f(x):\n    x(1)\n    try:\n        x(2)\n    except ValueError:\n        x(3)\n"
    assert version(text) != version(moved)


def test_the_assets_of_a_factory_differ() -> None:
    def made(number: int) -> Callable[[], int]:
        def make() -> int:
            return number

        return make

    assert code_version(made(1)) == code_version(made(1)) != code_version(made(2))


def test_a_wrapper_stands_for_what_it_wraps() -> None:
    def logged(function: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            return function()

        return call

    assert code_version(logged(lambda: 1)) == code_version(logged(lambda: 1)) != code_version(logged(lambda: 2))


def test_a_function_that_names_itself_has_a_version() -> None:
    def count(number: int) -> int:
        return count(number - 1) if number else 0

    assert len(code_version(count)) == 16


_TOLD = f"""
from freshet.definitions.code import code_version
names = dict()
exec({PLAIN!r}, names)
print(code_version(names["f"]))
"""


def test_it_is_the_same_in_every_process() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", _TOLD], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("1", "2", "3")
    }
    assert told == {version(PLAIN)}


def test_having_run_changes_nothing() -> None:
    names: dict[str, Any] = {}
    exec(
        "def f(x):\n    total = 0\n    for i in range(x):\n        total += i\n    return total\n", names
    )  # our own text
    before = code_version(names["f"])
    for _ in range(100):
        names["f"](100)
    code_version.__globals__["_code"].cache_clear()
    assert code_version(names["f"]) == before


def test_an_asset_has_the_version_that_it_says_or_that_of_its_code() -> None:
    @asset
    def one() -> int:
        return 1

    @asset(version="7")
    def two() -> int:
        return 1

    assert one.spec.code_version == code_version(one.function) and two.spec.code_version == two.spec.version == "7"


@pytest.mark.parametrize("wrong", [7, "", "x" * 65, "a\nb"])
def test_a_version_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match="version") as caught:
        asset(name="made", version=wrong)(lambda: 1)
    assert caught.value.hint
