"""Results of checks that other tools wrote down."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from freshet.cli.reports import ReportError, read_dbt, read_junit

RESULTS: dict[str, Any] = {
    "results": [
        {"unique_id": "model.shop.orders", "status": "success"},
        {"unique_id": "test.shop.unique_orders_id.ab12", "status": "pass", "failures": 0, "execution_time": 0.5},
        {"unique_id": "test.shop.not_null_orders_id.cd34", "status": "fail", "failures": 3, "message": "Got 3 results"},
        {"unique_id": "test.shop.fresh.ef56", "status": "warn", "failures": 1},
        {"unique_id": "test.shop.later.gh78", "status": "skipped"},
    ]
}
MANIFEST = {
    "nodes": {
        "test.shop.unique_orders_id.ab12": {"name": "unique_orders_id", "attached_node": "model.shop.orders"},
        "test.shop.not_null_orders_id.cd34": {"depends_on": {"nodes": ["model.shop.orders", "model.shop.raw"]}},
    }
}


def test_dbt_says_what_passed_and_the_manifest_whose_it_is() -> None:
    found = list(read_dbt(json.dumps(RESULTS).encode(), json.dumps(MANIFEST).encode()))
    assert [(one.check, one.of, one.passed, one.severity) for one in found] == [
        ("unique_orders_id", ("orders",), True, "error"),
        ("not_null_orders_id", ("orders", "raw"), False, "error"),
        ("fresh", (), False, "warn"),
    ]
    assert found[1].metadata == {"failures": 3, "message": "Got 3 results"}
    assert [one.check for one in read_dbt(json.dumps(RESULTS).encode(), None)] == [one.check for one in found]


JUNIT = b"""<?xml version="1.0"?>
<testsuites><testsuite name="quality">
  <testcase classname="checks.orders" name="test_ids" time="0.1"/>
  <testcase classname="checks.orders" name="test_sums"><failure message="3 != 4">line 1</failure></testcase>
  <testcase classname="" name="test_later"><skipped/></testcase>
  <testcase name="test_broken"><error message="no database"/></testcase>
</testsuite></testsuites>"""


def test_junit_says_what_passed_by_class_and_suite() -> None:
    found = list(read_junit(JUNIT))
    assert [(one.check, one.passed, one.of) for one in found] == [
        ("test_ids", True, ("checks.orders", "orders", "quality")),
        ("test_sums", False, ("checks.orders", "orders", "quality")),
        ("test_broken", False, ("quality",)),
    ]
    assert found[1].metadata["message"] == "3 != 4\nline 1"


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">%s]><testsuite><testcase name="&z;"/></testsuite>' % b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(25)
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (BOMB, "document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite/>', "document type"),
        (b"<testsuite><testcase>", "no XML"),
        (b"<html/>", "no JUnit report"),
        (b"", "no XML"),
    ],
)
def test_what_is_no_report_is_refused_at_once(data: bytes, words: str) -> None:
    began = time.process_time()
    with pytest.raises(ReportError, match=words) as caught:
        list(read_junit(data))
    assert caught.value.hint and time.process_time() - began < 1
    for text in (b"[]", b"{", b'{"results": 3}', b"[" * 100_000):
        with pytest.raises(ReportError, match=r"this is no run_results\.json"):
            list(read_dbt(text, None))


def test_a_report_reads_as_it_was_written(tmp_path: Path) -> None:
    """Also in another encoding."""
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><testsuite><testcase name="größe"/></testsuite>'
    assert [one.check for one in read_junit(text.encode("latin-1"))] == ["größe"]
