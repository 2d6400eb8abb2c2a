"""I/O managers: chosen by the value or named; a plugin's own; what does not fit is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet import IOManager
from freshet.errors import ValueFormatError
from freshet.io import Managers, ValueRef, read_value, write_value

VALUES = st.one_of(
    st.none(),
    st.text(st.characters(codec="utf-8")),
    st.text(st.characters()),
    st.binary(),
    st.integers(),
    st.floats(allow_nan=False),
    st.lists(st.one_of(st.integers(), st.binary(), st.tuples(st.text()))),
)


def keep(values: Path, value: Any, *, io: str | None = None, managers: Managers | None = None) -> ValueRef:
    given: dict[str, Any] = {} if managers is None else {"managers": managers}
    return write_value(value, values_dir=values, asset="sales", partition_key=None, run_id=7, attempt=1, io=io, **given)


class Csv(IOManager):
    """As in the documentation."""

    name = "csv"

    def fits(self, value: Any) -> bool:
        rows: Any = value
        return type(value) is list and bool(rows) and all(type(row) is tuple for row in rows)

    def dumps(self, value: Any) -> bytes:
        return "\n".join(",".join(row) for row in value).encode()

    def loads(self, data: bytes, wanted: Any) -> Any:
        rows = [line.split(",") for line in data.decode().split("\n")]
        return rows if wanted is list else [tuple(row) for row in rows]


class Broken(IOManager):
    """Gives text, and raises."""

    name = "broken"

    def dumps(self, value: Any) -> Any:
        return "text" if value else b""

    def loads(self, data: bytes, wanted: Any) -> Any:
        raise ZeroDivisionError("no")


OWN = Managers([Csv(), Broken()])


@given(VALUES)
def test_any_value_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    values = tmp_path_factory.getbasetemp() / "any"
    ref = keep(values, value)
    back = read_value(values, ref)
    assert (back, type(back)) == (value, type(value))
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    ("io", "value", "said"),
    [
        ("text", b"raw", "of type bytes, not str"),
        ("text", "a\ud800", "at character 1"),
        ("bytes", "text", "of type str, not bytes"),
        ("none", 0, "of type int, not None"),
        ("json", {1: 2}, "the key 1 is of type int"),
    ],
)
def test_what_does_not_fit_the_manager_that_was_named_is_told_and_leaves_nothing(
    tmp_path: Path, io: str, value: Any, said: str
) -> None:
    with pytest.raises(ValueFormatError, match=said) as caught:
        keep(tmp_path / "values", value, io=io)
    assert f"io='{io}'" in caught.value.message
    assert caught.value.hint
    assert not (tmp_path / "values").exists()


def test_nothing_is_no_file_and_each_making_of_it_is_told_apart(tmp_path: Path) -> None:
    ref = keep(tmp_path / "values", None)
    assert (ref.io, ref.path, ref.size) == ("none", "", 0)
    assert not (tmp_path / "values").exists()
    assert read_value(tmp_path / "values", ref) is None
    again = write_value(None, values_dir=tmp_path, asset="sales", partition_key=None, run_id=7, attempt=2, io="none")
    assert again.digest != ref.digest


@pytest.mark.parametrize("value", [bytearray(b"abc"), memoryview(b"abc")])
def test_what_is_like_bytes_comes_back_as_bytes(tmp_path: Path, value: Any) -> None:
    assert read_value(tmp_path, keep(tmp_path, value, io="bytes")) == b"abc"


def test_line_ends_of_a_text_stay(tmp_path: Path) -> None:
    ref = keep(tmp_path, "a\r\nb\rc\n")
    assert (tmp_path / ref.path).read_bytes() == b"a\r\nb\rc\n"


def test_a_managers_of_ones_own(tmp_path: Path) -> None:
    rows = [("a", "b"), ("c", "d")]
    chosen = keep(tmp_path, rows, managers=OWN)
    assert (chosen.io, chosen.path) == ("csv", "sales/@/7-1.csv")
    assert (tmp_path / chosen.path).read_bytes() == b"a,b\nc,d"
    assert read_value(tmp_path, chosen, managers=OWN) == rows
    assert read_value(tmp_path, chosen, managers=OWN, wanted=list) == [["a", "b"], ["c", "d"]]
    with pytest.raises(ValueFormatError, match="there is no I/O manager 'csv'"):
        read_value(tmp_path, chosen)
    assert keep(tmp_path, [["a"]], managers=OWN).io == "json"
    assert keep(tmp_path, [["a"]], io="csv", managers=OWN).io == "csv"


def test_what_a_manager_of_ones_own_does_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueFormatError, match="'broken' gave str in place of bytes"):
        keep(tmp_path, 1, io="broken", managers=OWN)
    ref = keep(tmp_path, 0, io="broken", managers=OWN)
    with pytest.raises(ValueFormatError, match=r"7-1\.broken: io='broken' cannot read it: ZeroDivisionError: no"):
        read_value(tmp_path, ref, managers=OWN)


@pytest.mark.parametrize(
    ("io", "said", "hint"),
    [
        ("jason", "no I/O manager 'jason'", "did you mean 'json'?"),
        ("s3", "no I/O manager 's3'", 'S3Values("s3://bucket/prefix")'),
        ("s3:json", "no store 's3'", 'S3Values("s3://bucket/prefix")'),
        ("lake:json", "no store 'lake'", ""),
    ],
)
def test_an_unknown_name_is_told_with_the_remedy(io: str, said: str, hint: str) -> None:
    problem = OWN.problem(io)
    assert problem is not None
    assert said in problem[0]
    assert hint in problem[1]
    assert all(OWN.problem(name) is None for name in ("json", "text", "bytes", "parquet", "pickle", "none", "csv"))
