"""Which parameters are resources, and what cannot be one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from freshet import DefinitionError, asset, external_asset, job, resource
from freshet.host.describe import catalog


class Model(BaseModel):
    """Settings."""


def plain() -> int:
    return 1


def _problems(*objects: object) -> list[tuple[str, str]]:
    return [(one["message"], one["hint"]) for one in catalog(objects, version="1").problems]


def test_a_parameter_with_the_name_of_one_is_no_upstream() -> None:
    @resource
    def database() -> int:
        return 1

    @asset
    def orders() -> int:
        return 1

    @asset
    def sums(ctx: Any, orders: int, database: int) -> int:
        return 1

    @job
    def pays(database: int, amount: int) -> None: ...

    for _ in range(2):  # a test may describe the same objects again
        made = catalog([database, orders, sums, pays], version="1")
        assert made.problems == []
        spec = made.definitions.asset["sums"]
        assert ([dep.asset for dep in spec.deps], spec.resources) == (["orders"], ("database",))
        assert made.definitions.job["pays"].resources == ("database",)
        assert list(made.definitions.job["pays"].parameters["properties"]) == ["amount"]


def test_a_name_that_is_an_assets_too_names_both_places() -> None:
    made, other = resource(name="orders")(plain), asset(name="orders")(plain)
    ((said, hint),) = _problems(made, other)
    assert said.startswith("resource orders: has the name of an asset, at ")
    assert f"{__file__}:{plain.__code__.co_firstlineno}" in said
    assert hint == "give one of them another name"
    assert "has the name of an asset" in _problems(made, external_asset("orders"))[0][0]


def test_two_of_a_name() -> None:
    ((said, _),) = _problems(resource(name="one")(plain), resource(name="one")(plain))
    assert said.startswith(f"resource one: is there twice, also at {__file__}:")


def test_a_parameter_that_nothing_gives_and_a_ring() -> None:
    @resource
    def database(setings: int, model: Model, size: int = 3) -> int:
        return 1

    @resource
    def settings() -> int:
        return 1

    @resource
    def first(second: int) -> int:
        return 1

    @resource
    def second(first: int) -> int:
        return 1

    assert _problems(database, settings) == [
        (
            "resource database: the parameter 'setings' is neither a resource nor annotated with a pydantic model",
            "did you mean 'settings'?",
        )
    ]
    ((said, _),) = _problems(first, second)
    assert "is needed by itself: " in said


def _takes_ctx(ctx: Any) -> None: ...
def _takes_any(*args: Any) -> None: ...
def _takes_options(**options: Any) -> None: ...


@pytest.mark.parametrize("wrong", [_takes_ctx, _takes_any, _takes_options, "name", 3])
def test_what_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(DefinitionError):
        resource(wrong)


def test_it_can_be_called() -> None:
    made = resource(plain)
    assert (made(), made.spec.name, repr(made)) == (1, "plain", "<resource plain>")
