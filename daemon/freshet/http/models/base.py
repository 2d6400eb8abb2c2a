"""What all models share: their two bases and the closed sets of states."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Answer", "Body", "FreshnessState", "Json", "RunState", "StepState"]

Json = Any
RunState = Literal["queued", "started", "succeeded", "failed", "canceling", "canceled", "interrupted"]
StepState = Literal["queued", "started", "retrying", "succeeded", "failed", "canceled", "interrupted", "skipped"]
FreshnessState = Literal["fresh", "warn", "lapsed"]


class Answer(BaseModel):
    """What the daemon answers."""

    model_config = ConfigDict(defer_build=True, frozen=True)


class Body(BaseModel):
    """What a client sends: an unknown key is a mistake. Built at once: fastapi asks for it when it meets them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
