"""The commands about checks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from rich.text import Text

from freshet.cli.commands.act import admitted
from freshet.cli.reports import Found, read_dbt, read_junit
from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.tables import table
from freshet.cli.text import age, in_line
from freshet.http.models import CheckAnswer, ImportChecksBody, ImportedResult, VerifyBody

__all__ = ["import_checks", "show_checks", "verify"]

_AT_ONCE = 1_000


def verify(session: Session, asset: str, partition: str | None, checks: list[str], *, wait: bool) -> int:
    """Ask for a run of checks alone, and watch if asked to."""
    with session.client() as client:
        answer = client.checks.verify(asset, VerifyBody(partition=partition, checks=tuple(checks)))
        return admitted(session, client, answer, wait=wait)


def show_checks(found: list[CheckAnswer]) -> None:
    """A table of an asset's checks; nothing where it has none."""
    if found:
        now = time.time()
        table(("check", "kind", "#passed", "#failed", "last", "found"), (_row(one, now) for one in found), empty="")


def _row(one: CheckAnswer, now: float) -> tuple[object, ...]:
    kind = ", ".join(["blocking"] * one.blocking + ["whole"] * one.whole + [one.severity] * (one.severity == "warn"))
    last = one.last
    if last is None:
        return one.name, kind or "-", "-", "-", "-", Text("never ran", style="yellow")
    word = Text("passed", style="green") if last.passed else Text("failed", style="red")
    if not last.passed and last.partition is not None:
        word.append(f" of {in_line(last.partition)}")
    return one.name, kind or "-", one.passed or "-", one.failed or "-", age(last.at, now), word


def import_checks(
    session: Session,
    kind: Literal["dbt", "junit"],
    file: Path,
    asset: str | None,
    partition: str | None,
    manifest: Path | None,
) -> int:
    """Hand in the results of a report; exit 1 where none is of an asset."""
    data = _read(file)
    found = list(read_junit(data) if kind == "junit" else read_dbt(data, _manifest(file, manifest)))
    with session.client() as client:
        known = {one.name for one in client.assets()} if asset is None else {asset}
        results, strays = _placed(found, known, asset, partition)
        for start in range(0, len(results), _AT_ONCE):
            client.checks.record(ImportChecksBody(source=kind, results=tuple(results[start : start + _AT_ONCE])))
    failed = sum(not one.passed for one in results)
    if session.json:
        print_json({"recorded": len(results), "failed": failed, "left_out": strays})
    else:
        print(f"{len(results)} recorded, {failed} of them failed")  # noqa: T201
        if strays:
            shown = ", ".join(map(in_line, strays[:5])) + (" ..." if len(strays) > 5 else "")
            print(f"{len(strays)} left out, which are of no asset: {shown} (--asset NAME says whose they are)")  # noqa: T201
    return 0 if results else 1


def _placed(
    found: Iterable[Found], known: set[str], asset: str | None, partition: str | None
) -> tuple[list[ImportedResult], list[str]]:
    results, strays = list[ImportedResult](), list[str]()
    for one in found:
        whose = asset or next((name for name in one.of if name in known), None)
        if whose is None:
            strays.append(one.check)
            continue
        results.append(
            ImportedResult(
                asset=whose,
                check=one.check,
                passed=one.passed,
                severity=one.severity,
                partition=partition,
                metadata=one.metadata,
            )
        )
    return results, strays


def _manifest(file: Path, given: Path | None) -> bytes | None:
    """dbt writes it beside its results."""
    beside = file.with_name("manifest.json") if given is None else given
    return _read(beside) if given is not None or beside.is_file() else None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", hint="give the path of a report") from error
