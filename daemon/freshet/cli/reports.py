"""Results of checks out of the reports of other tools: dbt's `run_results.json`, and JUnit's XML. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from xml.parsers import expat

from freshet.errors import FreshetError

__all__ = ["Found", "ReportError", "read_dbt", "read_junit"]

_TEXT_MAX = 2_000
"""Characters of a message that are kept."""
_DBT: dict[str, tuple[bool, Literal["error", "warn"]]] = {
    "pass": (True, "error"),
    "warn": (False, "warn"),
    "fail": (False, "error"),
    "error": (False, "error"),
}
"""What dbt's statuses say; one that is not here (skipped) says nothing."""


class ReportError(FreshetError):
    """A report that cannot be read."""


@dataclass(frozen=True)
class Found:
    """One result. `of`: whose it may be, the likeliest name first."""

    check: str
    of: tuple[str, ...]
    passed: bool
    severity: Literal["error", "warn"] = "error"
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


def read_dbt(data: bytes, manifest: bytes | None) -> Iterator[Found]:
    """The tests of a `run_results.json`. `manifest`: of the same run, which says of which model each test is; without,
    nothing does. Raises `ReportError`."""
    nodes: dict[str, Any] = {} if manifest is None else _object(manifest, "manifest.json").get("nodes", {})
    results: Any = _object(data, "run_results.json").get("results")
    if not isinstance(results, list):
        raise ReportError("this is no run_results.json: it has no results", hint="dbt writes it to target/")
    for one in cast("Iterable[Any]", results):
        identity = str(one.get("unique_id", ""))
        verdict = _DBT.get(str(one.get("status")))
        if not identity.startswith("test.") or verdict is None:
            continue
        node: dict[str, Any] = nodes.get(identity, {})
        parts = identity.split(".")
        above = [node.get("attached_node"), *node.get("depends_on", {}).get("nodes", [])]
        told = {"failures": one.get("failures"), "message": one.get("message"), "seconds": one.get("execution_time")}
        yield Found(
            check=str(node.get("name") or parts[2 if len(parts) > 2 else -1])[:250],
            of=tuple(dict.fromkeys(str(name).rsplit(".", 1)[-1] for name in above if name)),
            passed=verdict[0],
            severity=verdict[1],
            metadata={name: _brief(value) for name, value in told.items() if value is not None},
        )


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"this is no {what}: {error}", hint="give the file that dbt wrote") from error
    if not isinstance(found, dict):
        raise ReportError(f"this is no {what}: no object", hint="give the file that dbt wrote")
    return cast("dict[str, Any]", found)


def _brief(value: Any) -> Any:
    return value[:_TEXT_MAX] if isinstance(value, str) else value


def read_junit(data: bytes) -> Iterator[Found]:
    """The test cases of a JUnit report; those that were skipped say nothing. Raises `ReportError`, also for a report
    with a document type, which can make a small file very large, or read others."""
    reader = _JUnit()
    try:
        reader.read(data)
    except expat.ExpatError as error:
        raise ReportError(f"this is no XML: {error}", hint="give the report that the test runner wrote") from error
    if not reader.is_junit:
        raise ReportError("this is no JUnit report: it has no testsuite", hint="pytest writes one with --junitxml=FILE")
    return iter(reader.found)


class _JUnit:
    def __init__(self) -> None:
        self.found: list[Found] = []
        self.is_junit = False
        self._suites: list[str] = []
        self._case: dict[str, str] | None = None
        self._outcome: str | None = None
        self._said: list[str] = []

    def read(self, data: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.Parse(data, True)

    def _refuse(self, *_: Any) -> None:
        raise ReportError("a report with a document type is not read", hint="take <!DOCTYPE ...> out of it")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in ("testsuite", "testsuites"):
            self.is_junit = True
            self._suites.append(attributes.get("name", ""))
        elif tag == "testcase":
            self._case, self._outcome, self._said = attributes, None, []
        elif tag in ("failure", "error", "skipped") and self._case is not None and self._outcome is None:
            self._outcome, self._said = tag, [attributes.get("message", "")]

    def _text(self, text: str) -> None:
        if self._outcome in ("failure", "error") and sum(map(len, self._said)) < _TEXT_MAX:
            self._said.append(text)

    def _end(self, tag: str) -> None:
        if tag in ("testsuite", "testsuites") and self._suites:
            self._suites.pop()
        if tag != "testcase" or self._case is None:
            return
        case, self._case = self._case, None
        if self._outcome == "skipped":
            return
        told = {"message": "\n".join(self._said).strip()[:_TEXT_MAX], "seconds": case.get("time")}
        names = [case.get("classname", ""), *reversed(self._suites)]
        self.found.append(
            Found(
                check=case.get("name", "")[:250] or "unnamed",
                of=tuple(dict.fromkeys(part for name in names for part in (name, name.rsplit(".", 1)[-1]) if part)),
                passed=self._outcome is None,
                metadata={name: value for name, value in told.items() if value},
            )
        )
