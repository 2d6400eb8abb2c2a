"""What @check takes, and what is said of a check that cannot be."""

from __future__ import annotations

import inspect
from typing import Any

import orjson
import pytest

import freshet
from freshet import CheckResult, DefinitionError, DynamicPartitions, TimeWindow, asset, check, external_asset
from freshet.definitions.check import CheckSpec
from freshet.definitions.graph import Definitions, validate
from freshet.definitions.wire import packed, unpacked
from freshet.host.describe import catalog

days = DynamicPartitions("days")


@asset
def sales() -> float:
    """Nothing is sold here."""
    return 0.0


@asset(partitions=days)
def daily() -> float:
    return 0.0


def test_a_check_says_what_it_is_and_can_be_called() -> None:
    @check(asset=sales, blocking=True, severity="warn", retries=2, timeout="5s")
    def good(ctx: Any, sales: float) -> bool:
        """It is good."""
        return sales > 0

    assert isinstance(good.spec, CheckSpec)
    assert (good.spec.step, good.spec.blocking, good.spec.severity) == ("sales.good", True, "warn")
    assert (good.spec.retries.max, good.spec.timeout, good.spec.doc) == (2, 5.0, "It is good.")
    assert ([dep.asset for dep in good.spec.deps], good.spec.wants_ctx) == (["sales"], True)
    assert good(None, 1.0) is True


def test_checks_cross_to_the_daemon_as_they_are() -> None:
    @check(asset="daily", name="steady", whole=True)
    def anything(ctx: Any) -> bool:
        return True

    @check(asset=daily)
    def near(daily: Any) -> bool:
        return True

    made = catalog([sales, daily, anything, near], version="v")
    assert made.problems == []
    told = orjson.loads(orjson.dumps(packed(made.definitions)))
    assert unpacked(told) == made.definitions
    assert list(made.definitions.check) == ["daily.steady", "daily.near"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"asset": "sales", "severity": "bad"}, "severity='bad' is no severity"),
        ({"asset": "sales", "blocking": "yes"}, "blocking takes"),
        ({"asset": 7}, "@check: asset takes a text, not 7"),
        ({"asset": "sales", "name": "a.b"}, "is not a name"),
        ({"asset": "daily", "whole": True, "blocking": True}, "cannot be blocking"),
    ],
)
def test_what_it_does_not_take(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words) as caught:

        @check(**options)
        def good() -> bool:
            return True

    assert caught.value.hint
    with pytest.raises(DefinitionError, match="no severity"):
        CheckResult(False, severity="awful")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def problems(*objects: object) -> list[str]:
    specs = [getattr(one, "spec", None) for one in objects]
    assets = [one for one in specs if one is not None and not isinstance(one, CheckSpec)]
    found = validate(Definitions(assets=tuple(assets), checks=tuple(s for s in specs if isinstance(s, CheckSpec))))
    assert all(error.hint and error.file == __file__ and error.line for error in found)
    return [error.message for error in found]


def test_what_is_wrong_with_checks_among_assets_is_told_with_place_and_remedy() -> None:
    outside = external_asset("outside")

    @check(asset="sale")
    def lost() -> bool:
        return True

    @check(asset="sales", whole=True)
    def all_of_one() -> bool:
        return True

    @check(asset="sales")
    def strange(elsewhere: int) -> bool:
        return True

    @check(asset="outside")
    def valueless(outside: int) -> bool:
        return True

    def twice(line: str) -> object:
        @check(asset="sales", name="twice")
        def one() -> bool:
            return bool(line)

        return one

    @check(asset="sales")
    def unfit(daily: freshet.Dep) -> bool:
        return True

    found = problems(sales, daily, outside, lost, all_of_one, strange, valueless, twice("a"), twice("b"))
    assert [said.partition(";")[0] for said in found] == [
        "check sale.lost: checks 'sale', which no plugin declares as an asset",
        "check sales.all_of_one: is whole=True, and 'sales' has no partitions",
        "check sales.strange: takes 'elsewhere', which no plugin declares",
        "check outside.valueless: takes the value of 'outside', which is external: it has none",
        "check sales.twice: is declared twice",
    ]
    assert problems(sales, daily, unfit) == []  # of all days, by key


def test_a_mapping_that_does_not_fit_is_told() -> None:
    from typing import Annotated

    def made(daily: Any) -> bool:
        return True

    made.__annotations__["daily"] = Annotated[float, freshet.Dep(mapping=TimeWindow(-1, 0))]
    assert inspect.signature(made).parameters
    (said,) = problems(sales, daily, check(asset="daily")(made))
    assert said == "check daily.made: the parameter 'daily': its mapping needs TimePartitions on both sides"


C = freshet.AutomationCondition


def test_conditions_on_checks_print_as_they_are_written() -> None:
    said = C.any_checks_match(~C.check_passed() & ~C.check_failed(), blocking_only=True) | C.check_failed("good")
    assert str(said) == (
        "(any_checks_match((~check_passed() & ~check_failed()), blocking_only=True) | check_failed('good'))"
    )


@pytest.mark.parametrize("inner", [C.missing(), C.check_passed("good"), C.check_passed().newly_true()])
def test_what_is_asked_of_each_check_is_of_checks_alone(inner: freshet.AutomationCondition) -> None:
    for match in (C.any_checks_match, C.all_checks_match):
        with pytest.raises(DefinitionError, match="is not made of checks alone") as caught:
            match(inner & C.check_failed())
        assert "without names" in caught.value.hint
