"""The shipped plugins on the shipped samples, and on files that are no orders."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from freshet import GiveUp
from freshet.definitions.source import collecting

ROOT = Path(__file__).resolve().parents[2]
HEADER = b"order_id,customer,amount\n"


def load(name: str) -> tuple[ModuleType, list[object]]:
    """A plugin as the host loads it, and what it defines."""
    spec = importlib.util.spec_from_file_location(f"shipped_{name}", ROOT / "plugins" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with collecting() as found:
        spec.loader.exec_module(module)
    return module, found


@pytest.fixture(scope="module")
def orders() -> ModuleType:
    return load("orders")[0]


@pytest.mark.parametrize(("name", "rows", "clean"), [("orders-2026-11-20", 240, 234), ("orders-2026-11-21", 180, 174)])
def test_the_samples_are_read_and_dirty_rows_dropped(orders: ModuleType, name: str, rows: int, clean: int) -> None:
    read = orders.read_orders(str(ROOT / "samples" / f"{name}.csv"))
    assert len(read) == rows
    kept = orders.clean_orders(read)
    assert len(kept) == clean
    assert all(type(row["amount"]) is float for row in kept)
    assert any(row["amount"] < 0 for row in kept)
    assert any("\n" in row["item"] for row in kept)
    assert any("," in row["item"] for row in kept)
    assert any(not row["customer"].isascii() for row in kept)


def test_the_broken_sample_is_told_with_its_line(orders: ModuleType) -> None:
    with pytest.raises(GiveUp, match=r"broken\.csv, line 43: not 8 columns; half-written\?"):
        orders.read_orders(str(ROOT / "samples" / "broken.csv"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no column amount and no column order_id"),
        (b"id,amount\n1,2\n", "no column order_id"),
        (HEADER + b"1,A,2,3\n", "line 2: not 3 columns"),
        (HEADER + b"1,A,2\n2,B\n", "line 3: not 3 columns"),
        (HEADER + b'1,A,2\n2,"B', "no CSV"),
        (HEADER + b'1,"A"B,2\n', "no CSV"),
        (bytes(range(128, 256)), "no UTF-8 text"),
        (b"\x00\x01\x02\x7f" * 50, "no column"),
        (b"\x1f\x8b\x08\x00rest of a gzip", "no UTF-8 text"),
    ],
)
def test_what_is_no_csv_of_orders_is_told(orders: ModuleType, tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(data)
    with pytest.raises(GiveUp, match=reason) as caught:
        orders.read_orders(str(path))
    assert str(caught.value).startswith(str(path))


def test_harmless_oddities_are_read(orders: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(b"\xef\xbb\xbf" + HEADER.replace(b"\n", b"\r\n") + b"1,A, 2.5 \r\n\r\n2,B,\r\n3,C,  \r\n4,D,-1")
    kept = orders.clean_orders(orders.read_orders(str(path)))
    assert [(row["order_id"], row["amount"]) for row in kept] == [("1", 2.5), ("4", -1.0)]


@pytest.mark.parametrize("amount", ["twelve", "nan", "inf", "1,5"])
def test_an_amount_that_is_no_number_fails_its_batch(orders: ModuleType, amount: str) -> None:
    with pytest.raises(ValueError, match=amount):
        orders.clean_orders([{"order_id": "1", "amount": amount}])


@pytest.mark.parametrize(
    ("name", "defined"),
    [
        ("orders", "landing raw_orders clean_orders sales not_negative notify every_morning"),
        ("pulse", "pulse flatline"),
    ],
)
def test_each_defines_what_the_readme_shows(name: str, defined: str) -> None:
    found = load(name)[1]
    assert [getattr(one, "name", None) or getattr(one, "__name__", None) for one in found] == defined.split()
