"""What `@asset`, `@job` and their settings become."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import pytest
from pydantic import TypeAdapter

from freshet import AutomationCondition, Dep, DynamicPartitions, Freshness, Last, Retries, asset, job
from freshet.definitions.asset import Asset, DepSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.mapping import All
from freshet.definitions.retries import retry_delay
from freshet.definitions.source import collecting
from freshet.errors import DefinitionError, DurationError, InvalidName

BATCHES = DynamicPartitions("batches")


@asset(partitions=BATCHES)
def raw() -> int:
    """The first line.

    Not this one.
    """
    return 1


def test_parameters_name_upstreams_and_receive_their_values() -> None:
    @asset(deps=["other", Dep(raw, mapping=Last())], tags={"team": "x"}, timeout="5m", retries=2)
    def total(ctx: Any, raw: Annotated[int, Dep(mapping=All())], plain: int) -> int:
        return raw + plain

    made: Asset = total
    assert made.spec.deps == (DepSpec("raw", "raw", Last()), DepSpec("plain", "plain"), DepSpec("other"))
    assert made.spec.wants_ctx and made.spec.timeout == 300 and made.spec.retries.max == 2
    assert made(None, 1, 2) == 3


def test_an_annotation_may_name_another_asset() -> None:
    @asset
    def total(rows: Annotated[int, Dep("raw", mapping=Last())]) -> int:
        return rows

    assert total.spec.deps == (DepSpec("raw", "rows", Last()),)


def test_it_knows_its_place_and_first_line() -> None:
    assert raw.spec.doc == "The first line."
    assert raw.spec.source is not None and raw.spec.source.file == __file__
    assert Path(__file__).read_text().splitlines()[raw.spec.source.line - 1] == "@asset(partitions=BATCHES)"


def test_what_is_defined_while_a_file_loads_is_collected() -> None:
    with collecting() as found:

        @asset
        def inside() -> None: ...

        @job
        def work() -> None: ...

    assert found == [inside, work]
    with collecting() as nothing:
        pass
    assert nothing == []


def several(*rows: int) -> None: ...


def named(**rows: int) -> None: ...


def positional(rows: int, /) -> None: ...


@pytest.mark.parametrize("wrong", [several, named, positional])
def test_parameters_without_a_name_are_refused(wrong: Callable[..., None]) -> None:
    with pytest.raises(DefinitionError, match="plain named parameters") as caught:
        asset(wrong)
    assert caught.value.file == __file__


def test_settings_are_checked() -> None:
    with pytest.raises(InvalidName):
        asset(name="not-a-name")(lambda: 1)
    with pytest.raises(DurationError, match="timeout"):
        asset(name="a", timeout="soon")(lambda: 1)
    with pytest.raises(DefinitionError, match="warn"):
        Freshness(within="1h", warn="1h")
    with pytest.raises(DefinitionError, match="under a second"):
        Freshness(within="999ms")
    with pytest.raises(DefinitionError, match="names no asset"):
        asset(name="a", deps=[Dep()])(lambda: 1)
    with pytest.raises(DefinitionError, match="not an asset"):
        Dep(5)
    with pytest.raises(DefinitionError, match="out of range"):
        Retries(-1)


def test_definitions_travel_as_json() -> None:
    @asset(
        partitions=BATCHES,
        deps=[Dep(raw, mapping=Last())],
        freshness=Freshness(within="1h", warn="45m"),
        automation=AutomationCondition.eager() | AutomationCondition.on_lapse(),
        retries=Retries(3, delay="5s"),
    )
    def everything() -> None: ...

    definitions = Definitions(assets=(raw.spec, everything.spec), partitions=(BATCHES,), version="1")
    adapter = TypeAdapter(Definitions)
    read = adapter.validate_json(orjson.dumps(definitions))
    assert read == definitions
    assert orjson.dumps(read) == orjson.dumps(definitions)


def test_retry_delays_grow_to_their_cap_with_jitter() -> None:
    spec = Retries(5, delay="1s", backoff=2, jitter=0.25, cap="10s").spec
    rng = random.Random(1)
    for failures, base in [(1, 1.0), (2, 2.0), (4, 8.0), (5, 10.0), (400, 10.0)]:
        delays = [retry_delay(spec, failures, rng) for _ in range(100)]
        assert base * 0.75 <= min(delays) < max(delays) <= base * 1.25
