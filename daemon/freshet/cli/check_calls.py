"""What a client asks about checks."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from freshet.http import models

__all__ = ["CheckCalls"]

_Model = TypeVar("_Model", bound=BaseModel)


class _One(Protocol):
    def __call__(self, model: type[_Model], method: str, path: str, *, body: BaseModel | None = None) -> _Model: ...


class _Many(Protocol):
    def __call__(self, model: type[_Model], path: str, **params: Any) -> list[_Model]: ...


class CheckCalls:
    """`one` and `many`: how the client asks, for one answer or for a list."""

    def __init__(self, one: _One, many: _Many) -> None:
        self._one = one
        self._many = many

    def of(self, asset: str) -> list[models.CheckAnswer]:
        """An asset's checks, and what each found."""
        return self._many(models.CheckAnswer, f"assets/{quote(asset, safe='')}/checks")

    def verify(self, asset: str, body: models.VerifyBody) -> models.RunsAdmitted:
        """Ask for a run of checks alone."""
        return self._one(models.RunsAdmitted, "POST", f"assets/{quote(asset, safe='')}/verify", body=body)

    def record(self, body: models.ImportChecksBody) -> models.ChecksRecorded:
        """Hand in results from elsewhere."""
        return self._one(models.ChecksRecorded, "POST", "checks", body=body)
