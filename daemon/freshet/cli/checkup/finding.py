"""What was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Verdict", "bad", "fine", "warned"]

Verdict = Literal["ok", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`what`: the subject; `remedy`: empty where all is well. Only what is bad keeps a daemon from its work."""

    what: str
    verdict: Verdict
    said: str
    remedy: str = ""


def fine(what: str, said: str) -> Finding:
    """All is well."""
    return Finding(what, "ok", said)


def warned(what: str, said: str, remedy: str) -> Finding:
    """It works, and may not for ever."""
    return Finding(what, "warning", said, remedy)


def bad(what: str, said: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(what, "bad", said, remedy)
