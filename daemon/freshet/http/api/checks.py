"""Checks: what they found, runs of them alone, and results from elsewhere."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter

from freshet.definitions.check import CheckSpec
from freshet.http.api.context import Api, known
from freshet.http.models import (
    CheckAnswer,
    CheckResultAnswer,
    ChecksRecorded,
    ImportChecksBody,
    RunsAdmitted,
    VerifyBody,
)
from freshet.store.checks import CheckSummary, check_summaries
from freshet.store.records import ImportedCheck

__all__ = ["router"]

router = APIRouter(tags=["checks"])


@router.get("/assets/{name}/checks")
async def list_checks(api: Api, name: str) -> tuple[CheckAnswer, ...]:
    """An asset's checks, and what each found: those that are declared, then those that were imported."""
    definitions = api.control.definitions
    known(definitions.asset, name, "asset")
    declared = definitions.checks_of.get(name, ())
    found = {one.name: one for one in await api.control.store.read(partial(check_summaries, asset=name))}
    answers = [_answer(name, spec, found.pop(spec.name, None)) for spec in declared]
    return (*answers, *(_answer(name, None, one) for one in found.values() if ":" in one.name))


@router.post("/assets/{name}/verify", status_code=201)
async def verify(api: Api, name: str, body: VerifyBody) -> RunsAdmitted:
    """Run checks of what is there, and make nothing."""
    known(api.control.definitions.asset, name, "asset")
    return RunsAdmitted(runs=(await api.control.verify(name, key=body.partition, checks=body.checks),))


@router.post("/checks", status_code=201)
async def import_checks(api: Api, body: ImportChecksBody) -> ChecksRecorded:
    """Keep results of checks that ran elsewhere: durable when this answers. Conditions and sensors take them for what a
    check found; they stop nothing."""
    results = [
        ImportedCheck(one.asset, f"{body.source}:{one.check}", one.passed, one.severity, one.partition, one.metadata)
        for one in body.results
    ]
    return ChecksRecorded(recorded=await api.control.record_checks(results))


def _answer(asset: str, spec: CheckSpec | None, found: CheckSummary | None) -> CheckAnswer:
    last = None if found is None else CheckResultAnswer.model_validate({**found.last, "partition": found.last["key"]})
    return CheckAnswer(
        asset=asset,
        name=spec.name if spec is not None else found.name if found is not None else "",
        doc="" if spec is None else spec.doc,
        declared=spec is not None,
        blocking=spec is not None and spec.blocking,
        severity=spec.severity if spec is not None else last.severity if last is not None else "error",
        whole=spec is not None and spec.whole,
        passed=0 if found is None else found.passed,
        failed=0 if found is None else found.failed,
        failing=() if found is None else found.failing,
        last=last,
    )
