"""`executor=`: what may be declared, what is refused, and what a command's arguments become."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet import Command, Dask, Detached, DynamicPartitions, Inline, Process, asset, job
from freshet.definitions.argv import check_argument, fill_arguments
from freshet.definitions.asset import AssetSpec
from freshet.definitions.executor import PROCESS, ExecutorSpec, lane_of
from freshet.definitions.graph import Definitions
from freshet.definitions.job import JobSpec
from freshet.definitions.wire import packed, unpacked
from freshet.errors import Conflict, DefinitionError

ALL: list[ExecutorSpec] = [
    Process(),
    Process(reuse=True, steps=5, growth=64),
    Inline("500ms"),
    Command(["dbt", "run", "{params.model}"]),
    Detached(),
    Dask("tcp://127.0.0.1:8786"),
]
SCOPE = {
    "run_id": 7,
    "attempt": 2,
    "name": "orders",
    "params": {"x": "a b", "n": 3, "list": ["p", 4], "deep": {"er": True}, "none": None},
    "tags": {"team": "sales"},
    "partition": {"key": "2026-01-01", "metadata": {"path": "/in/x.csv"}},
}


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.kind)
def test_it_arrives_as_it_was(spec: ExecutorSpec) -> None:
    definitions = Definitions(
        assets=(AssetSpec("a", executor=spec), AssetSpec("b")), jobs=(JobSpec("j", executor=spec),), version="1"
    )
    read = unpacked(orjson.loads(orjson.dumps(packed(definitions))))
    assert read == definitions
    assert read.job["j"].executor == spec and read.asset["b"].executor is not None


def test_the_names_stand_for_the_defaults() -> None:
    @asset(executor="inline")
    async def one() -> int:
        return 1

    @job(executor="detached")
    def two() -> None: ...

    @asset
    def three() -> int:
        return 3

    assert one.spec.executor == Inline() and two.spec.executor == Detached() and three.spec.executor is PROCESS
    assert [lane_of(spec) for spec in ALL] == ["process", "reused", "inline", "process", "detached", "dask"]


def _def() -> None: ...


async def _async() -> None: ...


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: asset(executor="inlin")(_def), "did you mean 'inline'"),
        (lambda: asset(executor="inline")(_def), "only an async def runs inline"),
        (lambda: asset(executor=3)(_def), "executor takes"),  # type: ignore[call-overload]
        (lambda: asset(executor=Inline)(_def), "Inline"),  # type: ignore[call-overload]
        (lambda: Inline("1ms"), "out of range"),
        (lambda: Process(reuse=1), "reuse"),  # type: ignore[arg-type]
        (lambda: Process(reuse=True, steps=0), "at least 1"),
        (lambda: Command([]), "names no program"),
        (lambda: Command("dbt run"), "each argument by itself"),
        (lambda: Command(["x", 3]), "takes a text"),  # type: ignore[list-item]
        (lambda: Command(["x", "{parms.a}"]), "params"),
        (lambda: Command(["x", "}"]), "stray '}'"),
        (lambda: Command(["x", "{params}"]), "is no field"),
        (lambda: Command(["x", '{"a": 1}']), "is no field"),
        (lambda: asset(executor=Command(["x", "{partition.key}"]))(_def), "there is no partition"),
        (lambda: job(executor=Command(["x", "{params.a}"]))(_def), "no parameter 'a'"),
        (lambda: asset(executor="inline", memory="1GiB")(_async), "no memory="),
        (lambda: job(executor=Dask("tcp://x:1"), env={"A": "1"})(_def), "no memory="),
        (lambda: Dask("localhost"), "no address"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(make: Any, said: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        make()
    assert said in str(refused.value) and refused.value.hint


def test_a_command_with_json_in_it_is_told_how_braces_stay() -> None:
    with pytest.raises(DefinitionError) as refused:
        Command(["dbt", "--vars", '{"a": {params.a}}'])
    assert 'is written twice: "{{"' in refused.value.hint


def test_the_place_is_named_once() -> None:
    with pytest.raises(DefinitionError) as refused:
        job(executor="threads")(_def)
    assert str(refused.value.message).count("executor:") == 1


def test_fields_that_the_step_will_have_are_taken() -> None:
    @asset(partitions=DynamicPartitions("keys"), executor=Command(["x", "{partition.key}"]))
    def one() -> None: ...

    @job(executor=Command(["x", "{params.a}"]))
    def two(a: int) -> None: ...

    assert isinstance(one.spec.executor, Command) and isinstance(two.spec.executor, Command)


def test_arguments_are_filled() -> None:
    given = [
        "{params.x}",
        "--n={params.n}",
        "{params.list}",
        "{params.deep}",
        "{params.deep.er}",
        "{{{run_id}}}",
        "{tags.team}",
    ]
    given += ["{partition.key}/{partition.metadata.path}", "{attempt}{name}"]
    expected = ["a b", "--n=3", "p", "4", '{"er":true}', "true", "{7}", "sales", "2026-01-01//in/x.csv", "2orders"]
    assert fill_arguments([check_argument(one, "x") for one in given], SCOPE, "x") == expected


@pytest.mark.parametrize("text", ["{params.y}", "{params.none}", "{params.x.y}", "{partition.key}"])
def test_what_is_not_there_is_named(text: str) -> None:
    scope = {**SCOPE, "partition": None} if text == "{partition.key}" else SCOPE
    with pytest.raises(Conflict, match="there is no") as refused:
        fill_arguments([text], scope, "asset x")
    assert refused.value.hint


@given(st.lists(st.text(st.characters(exclude_characters="{}\0", exclude_categories=["Cs"])), max_size=5), st.text())
def test_what_is_filled_in_is_never_read_again(literals: list[str], value: str) -> None:
    """A value that looks like a field, a quote or an option stays the text that it is."""
    given = [f"{one}{{params.x}}" for one in literals]
    scope = {**SCOPE, "params": {"x": value}}
    if "\0" in value and given:
        with pytest.raises(Conflict):
            fill_arguments(given, scope, "x")
    else:
        assert fill_arguments(given, scope, "x") == [f"{one}{value}" for one in literals]
