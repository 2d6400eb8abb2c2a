"""Checks of assets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from freshet.http.models.base import Answer, Body, Json

__all__ = ["CheckAnswer", "CheckResultAnswer", "ChecksRecorded", "ImportChecksBody", "ImportedResult", "VerifyBody"]


class CheckResultAnswer(Answer):
    """What a check found last. `partition`: None of an asset without, and of all of them together. `error`: why it
    could not say."""

    passed: bool
    severity: Literal["error", "warn"]
    at: float
    run_id: int | None
    partition: str | None
    metadata: Json
    error: Json


class CheckAnswer(Answer):
    """A check. `declared`: by a plugin, else its results are imported. `passed`, `failed`: how many partitions, of data
    that is there now; `failing`: some of these. `last`: None where it has never run."""

    asset: str
    name: str
    doc: str = ""
    declared: bool
    blocking: bool
    severity: Literal["error", "warn"]
    whole: bool = False
    passed: int = 0
    failed: int = 0
    failing: tuple[str, ...] = ()
    last: CheckResultAnswer | None = None


class VerifyBody(Body):
    """Run checks alone: those named, else all that can be for the partition."""

    partition: str | None = None
    checks: tuple[str, ...] = ()


class ImportedResult(Body):
    """One result. `partition`: without it, of all there is."""

    asset: str
    check: str = Field(min_length=1, max_length=300)
    passed: bool
    severity: Literal["error", "warn"] = "error"
    partition: str | None = None
    metadata: dict[str, Json] = Field(default_factory=dict[str, Json])


class ImportChecksBody(Body):
    """Results from elsewhere, in order. `source`: who ran them; a check is then called `SOURCE:NAME`."""

    source: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,30}$")
    results: tuple[ImportedResult, ...] = Field(max_length=10_000)


class ChecksRecorded(Answer):
    """How many results were kept."""

    recorded: int
