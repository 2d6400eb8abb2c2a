"""Tables: they come back as they were, or as the kind that is wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from freshet.errors import ValueFormatError
from freshet.io import ValueRef, read_value, write_value

ROWS: list[dict[str, Any]] = [{"n": 1, "name": "a", "x": 0.5}, {"n": 2, "name": None, "x": float("inf")}]


def keep(values: Path, value: Any, io: str | None = None) -> ValueRef:
    return write_value(value, values_dir=values, asset="sales", partition_key=None, run_id=7, attempt=1, io=io)


def test_a_table_of_arrow(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS, metadata={"owner": "sales"})
    ref = keep(tmp_path, table)
    assert (ref.io, ref.path) == ("parquet", "sales/@/7-1.parquet")
    back = read_value(tmp_path, ref)
    assert isinstance(back, pa.Table)
    assert back.equals(table, check_metadata=True)
    assert read_value(tmp_path, ref, wanted=pd.DataFrame).equals(pd.DataFrame(ROWS))
    wanted: Any = Annotated[pd.DataFrame | None, "more"]
    assert isinstance(read_value(tmp_path, ref, wanted=wanted), pd.DataFrame)
    assert isinstance(read_value(tmp_path, ref, wanted=list), pa.Table), "who takes it says what is wrong with that"
    batch = read_value(tmp_path, ref, wanted=pa.RecordBatch)
    assert isinstance(batch, pa.RecordBatch)
    assert batch.to_pylist() == ROWS


def test_a_batch_without_rows(tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_pylist([], schema=pa.schema({"n": pa.int64()}))
    ref = keep(tmp_path, batch)
    assert read_value(tmp_path, ref, wanted=pa.RecordBatch).equals(batch)
    assert read_value(tmp_path, ref).num_rows == 0


@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.floats(),
            st.text(st.characters(codec="utf-8")),
            st.datetimes().filter(lambda at: 1700 < at.year < 2200),
            st.booleans(),
        )
    ),
    st.sampled_from([None, "label", "name of another"]),
)
def test_a_frame_of_pandas(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], index: str | None
) -> None:
    values = tmp_path_factory.getbasetemp() / "frames"
    frame = pd.DataFrame(rows, columns=["n", "x", "text", "at", "flag"])
    frame = frame.astype({"n": "int64", "x": "float64", "text": "str", "at": "datetime64[us]", "flag": "bool"})
    if index is not None:
        frame.index = pd.Index([f"{number}" for number in range(len(rows))], dtype="str", name=index)
    ref = keep(values, frame)
    assert ref.io == "parquet"
    pd.testing.assert_frame_equal(read_value(values, ref), frame)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"mixed": [1, "a"]}),
        pd.DataFrame({1: [1], 2: [2]}),
        pd.DataFrame([[1, 2]], columns=["same", "same"]),
        pd.DataFrame({"z": [1 + 2j]}),
        pd.Series([1, 2]),
        np.arange(3),
    ],
    ids=["mixed", "numbers for names", "the same name twice", "complex", "series", "array"],
)
def test_what_parquet_cannot_hold_is_pickled_unless_it_was_named(tmp_path: Path, frame: Any) -> None:
    ref = keep(tmp_path, frame)
    assert ref.io == "pickle"
    back = read_value(tmp_path, ref)
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_frame_equal(back, frame)
        if all(type(name) is str for name in frame.columns):
            with pytest.raises(ValueFormatError, match="does not fit io='parquet'"):
                keep(tmp_path, frame, io="parquet")


def test_rows_are_no_table(tmp_path: Path) -> None:
    with pytest.raises(ValueFormatError, match="does not fit io='parquet': it is of type list") as caught:
        keep(tmp_path, ROWS, io="parquet")
    assert "from_pylist" in caught.value.hint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(allow_nan=False),
            st.none() | st.text(max_size=5),
            st.none() | st.datetimes(),
            st.none() | st.lists(st.integers(0, 9), max_size=3),
            st.none() | st.sampled_from(["low", "high"]),
        ),
        max_size=20,
    )
)
def test_a_frame_of_polars(tmp_path: Path, rows: list[tuple[Any, ...]]) -> None:
    schema: dict[str, Any] = {
        "n": pl.Int64,
        "x": pl.Float64,
        "text": pl.String,
        "at": pl.Datetime("us"),
        "some": pl.List(pl.Int64),
        "kind": pl.Enum(["low", "high"]),
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    ref = keep(tmp_path, frame)
    assert ref.io == "parquet"
    back = read_value(tmp_path, ref)
    assert isinstance(back, pl.DataFrame)
    assert_frame_equal(back, frame, categorical_as_str=True)


def test_a_frame_of_polars_is_what_the_parameter_wants(tmp_path: Path) -> None:
    frame = pl.DataFrame(ROWS)
    ref = keep(tmp_path / "whole", frame)
    back = read_value(tmp_path / "whole", ref, wanted=pl.LazyFrame)
    assert isinstance(back, pl.LazyFrame)
    assert_frame_equal(back.collect(), frame)
    assert read_value(tmp_path / "whole", ref, wanted=pa.Table).to_pylist() == ROWS
    lazy = keep(tmp_path / "lazy", frame.lazy().filter(pl.col("n") > 1))
    back = read_value(tmp_path / "lazy", lazy)
    assert isinstance(back, pl.LazyFrame)
    assert back.collect().to_dicts() == ROWS[1:]
    assert_frame_equal(read_value(tmp_path / "lazy", lazy, wanted=pl.DataFrame), frame[1:])
    of_pandas = keep(tmp_path / "pandas", pd.DataFrame(ROWS))
    assert_frame_equal(read_value(tmp_path / "pandas", of_pandas, wanted=pl.DataFrame), frame)


def test_a_kind_that_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = keep(tmp_path, pl.DataFrame(ROWS))
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ValueFormatError, match="polars is not installed"):
        read_value(tmp_path, ref)


def test_damage_is_told(tmp_path: Path) -> None:
    ref = keep(tmp_path, "no parquet at all", io="text")
    with pytest.raises(ValueFormatError, match="it is no Parquet"):
        read_value(tmp_path, ValueRef(ref.path, "parquet", ref.size, ref.digest))


def test_no_library_is_loaded_for_those_who_keep_no_tables(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from freshet.io import write_value\n"
        "write_value([1], values_dir=Path(sys.argv[1]), asset='a', partition_key=None, run_id=1, attempt=1, io=None)\n"
        "names = 'pyarrow', 'pandas', 'polars', 'boto3', 'botocore', 'pydantic'\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "values")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr
