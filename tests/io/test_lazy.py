"""`Values`: a dict that reads a value when it is asked for, also for the parts of Python written in C."""

from __future__ import annotations

import collections
import copy
import gc
import json
import operator
import pickle
import threading
import tracemalloc
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from freshet.errors import ValueFormatError
from freshet.io import Values, read_value, write_value
from freshet.io.json import dumps, loads, try_dumps

PLAIN = {"a": [1], "b": {"x": 2}, "c": None}


class Kept:
    """Values that lie somewhere, and which of them were read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.read: list[str] = []
        self.opened = 0

    def lazy(self) -> Values[Any]:
        return Values[Any].unread([(key, key) for key in self.values], self.reading)

    def reading(self) -> Any:
        self.opened += 1
        return nullcontext(self.find)

    def find(self, key: str, place: str) -> Any:
        assert key == place
        self.read.append(key)
        return self.values[key]


@pytest.fixture
def kept() -> Kept:
    return Kept(PLAIN)


def test_a_value_is_read_when_it_is_first_asked_for(kept: Kept) -> None:
    lazy = kept.lazy()
    assert isinstance(lazy, dict)
    assert (len(lazy), list(lazy), list(lazy.keys()), "b" in lazy, "z" in lazy, bool(lazy)) == (
        3,
        ["a", "b", "c"],
        ["a", "b", "c"],
        True,
        False,
        True,
    )
    assert list(reversed(lazy)) == ["c", "b", "a"]
    assert repr(lazy) == "<3 values by key: 'a', 'b', 'c'>"
    assert kept.read == []
    assert lazy["b"] is lazy["b"] is lazy.get("b")
    assert kept.read == ["b"]
    assert lazy.get("z", 7) == 7
    with pytest.raises(KeyError, match="z"):
        lazy["z"]


def test_iterating_keeps_nothing(kept: Kept) -> None:
    lazy = kept.lazy()
    assert list(lazy.items()) == list(PLAIN.items())
    assert list(lazy.values()) == list(PLAIN.values())
    asked: Any = lazy
    assert list(reversed(asked.items())) == list(reversed(PLAIN.items()))
    assert list(reversed(asked.values())) == list(reversed(PLAIN.values()))
    assert len(lazy.items()) == len(lazy.values()) == 3
    assert kept.read == [*"abcabccbacba"]
    assert kept.opened == 4, "what holds the places is opened once for each pass"
    assert ("b", {"x": 2}) in lazy.items()
    assert ("b", 3) not in lazy.items()
    assert ("z", 3) not in lazy.items()
    odd: Any = "b"
    assert odd not in lazy.items()
    assert [1] in lazy.values()
    assert lazy.keys() & {"a", "z"} == {"a"}


@dataclass
class Holder:
    values: dict[str, Any]


def keywords(**given: Any) -> dict[str, Any]:
    return given


def merged(first: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    first |= then
    return first


def matched(lazy: dict[str, Any]) -> dict[str, Any]:
    match lazy:
        case {"a": one, **rest}:
            return {"a": one, **rest}
        case _:
            raise AssertionError


def updated(lazy: dict[str, Any]) -> dict[str, Any]:
    made = dict[str, Any]()
    made.update(lazy)
    return made


# Untyped: what is tried is what happens, also where no checker would have it.
EMPTY: Any = {}
DICT: Any = dict
WAYS: dict[str, Callable[[Any], Any]] = {
    "dict": lambda v: dict(v),
    "stars": lambda v: {**v},
    "keywords": lambda v: keywords(**v),
    "update": updated,
    "or": lambda v: v | EMPTY,
    "or reversed": lambda v: EMPTY | v,
    "or of dict": lambda v: DICT.__or__(v, EMPTY),
    "ior": lambda v: merged({}, v),
    "ior of it": lambda v: dict(merged(v, EMPTY)),
    "copy": lambda v: dict(v.copy()),
    "copy.copy": lambda v: dict(copy.copy(v)),
    "dict.copy": lambda v: DICT.copy(v),
    "deepcopy": copy.deepcopy,
    "json": lambda v: json.loads(json.dumps(v)),
    "json, indented": lambda v: json.loads(json.dumps(v, indent=1, sort_keys=True)),
    "json, nested": lambda v: json.loads(json.dumps([v]))[0],
    "pickle": lambda v: pickle.loads(pickle.dumps(v)),
    "pickle, old": lambda v: pickle.loads(pickle.dumps(v, protocol=0)),
    "pickle, in Python": lambda v: pickle.loads(pickle._dumps(v)),  # type: ignore[attr-defined]
    "chain": lambda v: dict(collections.ChainMap(v)),
    "user dict": lambda v: dict(collections.UserDict[str, Any](v)),
    "ordered": lambda v: dict(collections.OrderedDict(v)),
    "getters": lambda v: dict(zip(v, operator.itemgetter(*v)(v), strict=True)),
    "match": matched,
    "asdict": lambda v: dict(asdict(Holder(v))["values"]),
    "comprehension": lambda v: {key: v[key] for key in v},
    "gets": lambda v: {key: v.get(key) for key in v},
    "pops": lambda v: {key: v.pop(key) for key in list(v)},
    "setdefaults": lambda v: {key: v.setdefault(key, 5) for key in v},
    "popitems": lambda v: dict(reversed([v.popitem() for _ in range(len(v))])),
    "zip": lambda v: dict(zip(v.keys(), v.values(), strict=True)),
    "sorted": lambda v: dict(sorted(v.items(), key=operator.itemgetter(0))),
    "template": lambda v: {key: json.loads(f"%({key})s" % {k: json.dumps(one) for k, one in v.items()}) for key in v},
    "series": lambda v: pandas.Series(v, dtype=object).to_dict(),
    "orjson of dict": lambda v: orjson.loads(orjson.dumps(dict(v))),
}


def is_plain(value: object) -> bool:
    return type(value) is dict


@pytest.mark.parametrize("way", WAYS)
def test_every_way_out_gives_the_values(kept: Kept, way: str) -> None:
    lazy = kept.lazy()
    made: dict[str, Any] = WAYS[way](lazy)
    assert is_plain(made)
    assert made == PLAIN
    assert all(type(one) is type(PLAIN[key]) for key, one in made.items())
    assert list(made) == list(PLAIN)


@pytest.mark.parametrize("way", WAYS)
def test_and_an_empty_one_gives_none(way: str) -> None:
    if way not in ("getters", "match"):
        assert WAYS[way](Kept({}).lazy()) == {}


def test_a_frame_of_columns(kept: Kept) -> None:
    lazy = Kept({"x": [1, 2], "y": [3, 4]}).lazy()
    assert pandas.DataFrame(lazy).to_dict("list") == {"x": [1, 2], "y": [3, 4]}
    rows = Kept({"r1": [1, 2], "r2": [3, 4]}).lazy()
    assert pandas.DataFrame.from_dict(rows, orient="index", columns=["x", "y"]).loc["r2", "y"] == 4
    joined = pandas.concat({key: pandas.Series(one) for key, one in rows.items()})
    assert len(joined) == 4
    assert list(pandas.concat(Kept({"p": pandas.Series([1]), "q": pandas.Series([2])}).lazy())) == [1, 2]


def test_pandas_maps_by_it_as_by_a_dict() -> None:
    lazy = Kept({"x": 1.0, "y": 2.0}).lazy()
    mapped = pandas.Series(["y", "x", "z"]).map(lazy)
    assert [*mapped[:2]] == [2.0, 1.0]
    assert mapped.isna()[2]


@pytest.mark.parametrize(
    "kind", [dict[str, list[int] | dict[str, int] | None], dict[str, Any], dict, Mapping[str, Any]]
)
def test_pydantic_validates_what_it_reads(kept: Kept, kind: Any) -> None:
    found: Any = TypeAdapter(kind).validate_python(kept.lazy(), strict=True)
    assert dict(found) == PLAIN


def test_orjson_refuses_what_is_not_read_and_writes_what_is(kept: Kept) -> None:
    lazy = kept.lazy()
    with pytest.raises(orjson.JSONEncodeError, match=r"not read yet .give it dict\(\.\.\.\)"):
        orjson.dumps(lazy)
    assert [lazy[key] for key in lazy] == list(PLAIN.values())
    assert orjson.loads(orjson.dumps(lazy)) == PLAIN
    assert orjson.loads(orjson.dumps(kept.lazy(), default=dict, option=orjson.OPT_PASSTHROUGH_SUBCLASS)) == PLAIN
    assert orjson.dumps(Kept({}).lazy()) == b"{}"


def test_equality_reads_as_little_as_it_can(kept: Kept) -> None:
    lazy = kept.lazy()
    assert lazy != {"a": [1]}
    assert lazy != 3
    assert kept.read == []
    assert lazy == PLAIN
    assert PLAIN == lazy  # noqa: SIM300  # the other side's comparison comes first
    assert lazy == kept.lazy()
    assert lazy != {**PLAIN, "c": 1}
    assert lazy != {"a": [1], "b": {"x": 2}, "d": None}
    with pytest.raises(TypeError, match="unhashable"):
        hash(lazy)
    nan = float("nan")
    assert Kept({"a": nan}).lazy() == {"a": nan}, "as dicts do: what is the same object is equal"


def test_it_can_be_changed(kept: Kept) -> None:
    lazy = kept.lazy()
    lazy["d"] = 4
    lazy["a"] = 1
    del lazy["b"]
    assert kept.read == []
    assert dict(lazy) == {"a": 1, "c": None, "d": 4}
    assert lazy.pop("z", 9) == 9
    with pytest.raises(KeyError):
        lazy.pop("z")
    assert lazy.setdefault("z", 9) == 9
    with pytest.raises(RuntimeError, match="changed size"):
        for key, _ in lazy.items():  # noqa: PERF102
            lazy[key + "'"] = 0
    lazy.clear()
    assert (len(lazy), lazy) == (0, {})
    with pytest.raises(KeyError):
        lazy.popitem()


def test_a_copy_is_as_lazy_and_stands_by_itself(kept: Kept) -> None:
    lazy = kept.lazy()
    other = lazy.copy()
    assert kept.read == []
    other["a"] = 5
    assert (lazy["a"], other["a"]) == ([1], 5)
    assert isinstance(other, Values)


def test_a_value_that_cannot_be_read_harms_only_itself(kept: Kept) -> None:
    class Broken(Kept):
        def find(self, key: str, place: str) -> Any:
            if key == "b":
                raise ValueFormatError("the value of 'raw' in partition 'b' is gone")
            return super().find(key, place)

    lazy = Broken(PLAIN).lazy()
    assert lazy["a"] == [1]
    for ask in (lambda: lazy["b"], lambda: lazy.get("b"), lambda: lazy.pop("b"), lambda: dict(lazy), lambda: {**lazy}):
        with pytest.raises(ValueFormatError, match="partition 'b' is gone"):
            ask()
    assert "b" in lazy, "what could not be read is not lost"
    assert lazy["c"] is None


class Large:
    def __init__(self, size: int) -> None:
        self.content = bytearray(size)


def test_memory_stays_flat_over_ten_thousand_values() -> None:
    size = 100_000
    lazy = Values[Large].unread(
        ((f"key{n}", n) for n in range(10_000)), lambda: nullcontext(lambda key, at: Large(size))
    )
    gc.collect()
    tracemalloc.start()
    try:
        for one in lazy.values():
            assert len(one.content) == size
        for _, one in lazy.items():  # noqa: PERF102
            assert len(one.content) == size
        assert tracemalloc.get_traced_memory()[1] < 20 * size
    finally:
        tracemalloc.stop()


def test_threads_may_read_at_once(kept: Kept) -> None:
    lazy = Kept({str(n): n for n in range(500)}).lazy()
    sums: list[int] = []
    threads = [threading.Thread(target=lambda: sums.append(sum(lazy[key] for key in lazy))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [sum(range(500))] * 4


@pytest.mark.parametrize("io", [None, "json", "pickle"])
def test_an_input_handed_on_is_kept_as_a_dict(tmp_path: Path, kept: Kept, io: str | None) -> None:
    ref = write_value(
        kept.lazy(), values_dir=tmp_path / "values", asset="sales", partition_key=None, run_id=1, attempt=1, io=io
    )
    back = read_value(tmp_path / "values", ref)
    assert is_plain(back)
    assert back == PLAIN
    assert ref.io == (io or "json")
    nested = write_value(
        [kept.lazy()], values_dir=tmp_path / "values", asset="sales", partition_key=None, run_id=1, attempt=2, io=None
    )
    assert read_value(tmp_path / "values", nested) == [PLAIN]
    assert nested.io == "json"


def test_what_does_not_fit_json_within_an_input_is_found() -> None:
    assert try_dumps([Kept({"a": (1, 2)}).lazy()]) is None
    with pytest.raises(ValueFormatError, match=r"\$\[0\]\.a\.x: \(1, 2\) is of type tuple"):
        dumps([Kept({"a": {"x": (1, 2)}}).lazy()])
    within = Kept({"a": Kept({"b": float("nan")}).lazy()}).lazy()
    with pytest.raises(ValueFormatError, match=r"\$\.a\.b: NaN"):
        dumps(within)
    assert loads(dumps(Kept({"a": Kept(PLAIN).lazy()}).lazy())) == {"a": PLAIN}


def test_an_input_handed_on_that_cannot_be_read_is_told_as_that() -> None:
    class Gone(Kept):
        def find(self, key: str, place: str) -> Any:
            raise ValueFormatError("the value of 'raw' in partition 'b' is gone")

    with pytest.raises(ValueFormatError, match="partition 'b' is gone"):
        dumps({"x": Gone(PLAIN).lazy()})


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["get", "[]", "set", "del", "pop", "setdefault", "popitem", "update", "ior", "items", "in"]),
        st.sampled_from([*"abcdef"]),
    ),
    max_size=20,
)


@given(st.dictionaries(st.sampled_from([*"abcdef"]), st.integers(0, 3)), OPERATIONS)
def test_whatever_is_done_it_is_as_a_dict(start: dict[str, int], operations: list[tuple[str, str]]) -> None:
    plain, lazy = dict(start), Kept(start).lazy()
    for name, key in operations:
        assert _do(plain, name, key) == _do(lazy, name, key)
        assert list(plain) == list(lazy)
    assert lazy == plain
    assert dict(lazy) == plain


def _do(target: dict[str, int], name: str, key: str) -> Any:
    try:
        match name:
            case "get":
                return target.get(key)
            case "[]":
                return target[key]
            case "set":
                target[key] = 9
            case "del":
                del target[key]
            case "pop":
                return target.pop(key)
            case "setdefault":
                return target.setdefault(key, 8)
            case "popitem":
                return target.popitem()
            case "update":
                target.update({key: 7})
            case "ior":
                target |= {key: 6}
            case "items":
                return list(target.items()), list(target.values())
            case _:
                return key in target
    except KeyError as error:
        return str(error)
    return None
