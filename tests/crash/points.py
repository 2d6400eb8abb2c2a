"""The boundaries at which a daemon is killed, and the kinds of transactions that pass them. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast, get_args

from freshet.store.records import Admission, Admitted, CalledRun, FreshnessChange, Started, StepToRun, TickResult

__all__ = ["BOUNDARIES", "STORE_BOUNDARIES", "Boundary", "Point", "kind_of", "started_by"]

Boundary = Literal[
    "before BEGIN",
    "before COMMIT",
    "after COMMIT",  # on the writer's thread: nobody has been answered
    "before publish",
    "before launch",  # of a step that the transaction committed as started
    "after receipt",  # of such a step: its worker has confirmed
    "before result",  # of such a step: its end has arrived, and no transaction of it has begun
]
BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)
STORE_BOUNDARIES = BOUNDARIES[:3]


@dataclass(frozen=True)
class Point:
    """The `passage`-th time that a transaction of this kind, or what it led to, passes a boundary."""

    boundary: Boundary
    kind: str
    passage: int = 1

    def __str__(self) -> str:
        return f"{self.boundary}: {self.kind}: {self.passage}"

    @classmethod
    def parse(cls, text: str) -> Point:
        """What `str` made."""
        boundary, kind, passage = text.rsplit(": ", 2)
        return cls(BOUNDARIES[BOUNDARIES.index(cast(Boundary, boundary))], kind, int(passage))


def kind_of(transaction: Callable[..., Any]) -> str:
    """The name of a transaction's function, with what makes a difference to what it does."""
    if not isinstance(transaction, partial):
        return transaction.__name__
    name: str = transaction.func.__name__
    given = transaction.keywords
    variant = ""
    match name:
        case "commit_tick":
            commit = given["commit"]
            variant = "staged" if commit.stage is not None else "" if commit.final else "checkpoint"
        case "finish_step":
            result = given["result"]
            variant = "retry" if result.retry_at is not None else result.outcome
        case "commit_freshness":
            words = {_word(change) for change in given["changes"]}
            variant = next(word for word in ("lapsed", "warned") if word in words)
        case _:
            pass
    return f"{name} ({variant})" if variant else name


def _word(change: FreshnessChange) -> str:
    return (change.event or "").removeprefix("freshness_")


def started_by(result: object) -> Iterator[StepToRun]:
    """The steps that a transaction committed as started, by what its function returned."""
    match result:
        case TickResult(admitted=admissions) | Admitted(runs=admissions) | CalledRun(admitted=admissions):
            yield from _steps(admissions)
        case Started(steps=steps):
            yield from steps
        case _:
            if isinstance(result, tuple):
                for part in cast("tuple[object, ...]", result):
                    yield from started_by(part)


def _steps(admissions: Iterable[Admission]) -> Iterator[StepToRun]:
    for admission in admissions:
        yield from admission.started
