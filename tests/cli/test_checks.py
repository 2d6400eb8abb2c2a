"""`freshet verify`, `freshet import-checks` and what `freshet assets NAME` says of checks, against a whole engine."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.support.served import ServedEngine, served_engine

from freshet import CheckResult, asset, check

LIMIT = [0.0]


@asset
def sales() -> float:
    return 5.0


@asset
def refunds() -> float:
    return 1.0


@check(asset=sales, blocking=True)
def small(sales: float) -> CheckResult:
    """Not too much."""
    return CheckResult(sales < LIMIT[0], metadata={"limit": LIMIT[0]})


@check(asset=sales, severity="warn")
def never() -> bool:
    return True


@pytest.fixture
def served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Generator[ServedEngine]:
    LIMIT[0] = 3.0
    with served_engine(tmp_path, [sales, refunds, small, never], capsys) as one:
        one.advance(1)
        yield one


def test_checks_are_shown_with_what_they_found_and_run_alone(served: ServedEngine) -> None:
    cli = served.cli
    assert "never ran" in cli("assets", "sales").out
    assert cli("materialize", "sales").status == 0
    served.advance(1)
    shown = cli("assets", "sales").out
    assert "small" in shown and "blocking" in shown and "failed" in shown and "passed" in shown
    LIMIT[0] = 9.0
    assert cli("verify", "sales", "--check", "small", "--json").json == {"runs": [2]}
    served.advance(1)
    run = json.loads(cli("runs", "2", "--json").out)
    assert [(step["name"], step["state"]) for step in run["steps"]] == [("sales.small", "succeeded")]
    said = cli("verify", "refunds")
    assert said.status == 1 and "has no checks" in said.err and "@check" in said.err


REPORT = """<testsuite name="tests.sales"><testcase name="test_sum"/>
<testcase name="test_all" classname="sales"><failure message="no"/></testcase></testsuite>"""


def test_reports_of_others_are_kept_of_the_assets_that_they_name(served: ServedEngine, tmp_path: Path) -> None:
    cli, report, results = served.cli, tmp_path / "report.xml", tmp_path / "run_results.json"
    report.write_text(REPORT)
    assert cli("import-checks", "junit", str(report)).out == "2 recorded, 1 of them failed\n"
    results.write_text(json.dumps({"results": [{"unique_id": "test.p.unique_id.1", "status": "warn"}]}))
    said = cli("import-checks", "dbt", str(results))
    assert said.status == 1 and "1 left out, which are of no asset: unique_id" in said.out
    nodes = {"test.p.unique_id.1": {"attached_node": "model.p.sales"}}
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    told = cli("import-checks", "dbt", str(results), "--json").json
    assert told == {"recorded": 1, "failed": 1, "left_out": []}
    shown = cli("assets", "sales").out
    assert "junit:test_sum" in shown and "junit:test_all" in shown and "dbt:unique_id" in shown
    for args, words in (
        (("junit", str(tmp_path / "none.xml")), "cannot be read"),
        (("junit", str(report), "--asset", "seles"), "no asset 'seles'"),
        (("junit", str(report), "--asset", "sales", "--partition", "k"), "has no partitions"),
        (("dbt", str(report)), "is no run_results.json"),
    ):
        said = cli("import-checks", *args)
        assert said.status in (1, 2) and words in said.err
