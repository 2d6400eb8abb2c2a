"""Values in S3, on a server that speaks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.support.moto import KEYS, Moto, moto_server

from freshet import S3Values
from freshet.definitions.source import collecting
from freshet.errors import DefinitionError, ValueFormatError
from freshet.io import Managers, ValueRef, read_value, write_value


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with moto_server() as server:
        yield server


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS["S3_KEY"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["S3_SECRET"])
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def keep(values: Path, value: Any, io: str, managers: Managers) -> ValueRef:
    return write_value(
        value,
        values_dir=values,
        asset="sales",
        partition_key="a/b",
        run_id=7,
        attempt=2,
        io=io,
        managers=managers,
    )


@pytest.mark.usefixtures("credentials")
def test_the_same_formats_under_a_prefix(tmp_path: Path, moto: Moto) -> None:
    s3 = moto.bucket("values")
    store = S3Values("s3://values/deep/down/", endpoint_url=moto.url, region="us-east-1")
    lake = S3Values("s3://values", name="lake", endpoint_url=moto.url, region="us-east-1")
    managers = Managers(stores=[store, lake])
    frame = pd.DataFrame({"n": [1, 2]})
    json, text, table = (keep(tmp_path, one, "s3", managers) for one in ([1], "täxt", frame))
    assert (json.io, json.path) == ("s3:json", "sales/a%2Fb/7-2.json")
    named = keep(tmp_path, [1], "lake:pickle", managers)
    assert (text.io, table.io, named.io) == ("s3:text", "s3:parquet", "lake:pickle")
    keys = {one["Key"] for one in s3.list_objects_v2(Bucket="values")["Contents"]}
    inner = {f"deep/down/sales/a%2Fb/7-2.{kind}" for kind in ("json", "text", "parquet")}
    assert keys == {*inner, "sales/a%2Fb/7-2.pickle"}
    assert read_value(tmp_path, json, managers=managers) == [1]
    assert read_value(tmp_path, text, managers=managers) == "täxt"
    pd.testing.assert_frame_equal(read_value(tmp_path, table, managers=managers), frame)
    assert read_value(tmp_path, named, managers=managers) == [1]
    assert keep(tmp_path, None, "s3", managers).io == "none"
    assert not list(tmp_path.iterdir()), "nothing of it lies in the state folder"

    s3.put_object(Bucket="values", Key="deep/down/sales/a%2Fb/7-2.json", Body=b"[2]")
    with pytest.raises(ValueFormatError, match="is damaged"):
        read_value(tmp_path, json, managers=managers)
    s3.delete_object(Bucket="values", Key="deep/down/sales/a%2Fb/7-2.json")
    with pytest.raises(ValueFormatError, match="is gone"):
        read_value(tmp_path, json, managers=managers)


@pytest.mark.usefixtures("credentials")
def test_a_bucket_that_is_not_there_is_told(tmp_path: Path, moto: Moto) -> None:
    managers = Managers(stores=[S3Values("s3://absent/x", endpoint_url=moto.url, region="us-east-1")])
    with pytest.raises(ValueFormatError, match=r"s3://absent/x/sales/.* cannot be written: NoSuchBucket") as caught:
        keep(tmp_path, [1], "s3", managers)
    assert "check the bucket" in caught.value.hint


def test_a_declaration_is_collected_and_a_wrong_one_refused() -> None:
    with collecting() as found:
        store = S3Values("s3://bucket")
    assert found == [store]
    for prefix in ("bucket/x", "s3://", "gs://bucket"):
        with pytest.raises(DefinitionError, match="not a place in S3") as caught:
            S3Values(prefix)
        assert 'S3Values("s3://bucket/prefix")' in caught.value.hint
