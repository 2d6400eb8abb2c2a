"""Why an asset is made, or is not."""

from __future__ import annotations

from typing import Literal

from freshet.http.models.base import Answer, FreshnessState, Json
from freshet.http.models.runs import EventAnswer, RunAnswer

__all__ = ["DependencyAnswer", "GateAnswer", "MakerAnswer", "PromiseAnswer", "SomeAnswer", "WhyAnswer", "WhyNode"]


class SomeAnswer(Answer):
    """How many partitions, and the keys of the last few."""

    count: int
    keys: tuple[str, ...]


class WhyNode(Answer):
    """A node of the condition: of which asset, and whether it is true now. `true_of` of the `asked` partitions it is
    true. `since`: from when on it waits, where that is remembered; `until`: when that ends at the latest. `attempts`:
    of a lapse, how many runs failed, and how many may. `event`: the newest that the node rests on."""

    asset: str
    kind: str
    expression: str
    label: str | None
    value: bool
    asked: int
    true_of: SomeAnswer
    since: float | None
    until: float | None
    attempts: tuple[int, int] | None
    event: EventAnswer | None
    children: tuple[WhyNode, ...]


class DependencyAnswer(Answer):
    """What the partition depends on. `named`: the partitions that the mapping names; `moving`: those queued, running,
    asked for or on their way; `holds`: whether it holds back what waits for its dependencies: "soft" ends by itself.
    `held`: materialized, and not let through by blocking checks."""

    asset: str
    mapping: str
    named: int
    materialized: int
    failed: SomeAnswer
    moving: SomeAnswer
    missing: SomeAnswer
    holds: Literal["hard", "soft"] | None
    held: SomeAnswer


class MakerAnswer(Answer):
    """A sensor or a schedule that asks for the asset. `waiting`: its requests that wait before they become runs.
    `error`: what it failed of, as long as it is failing."""

    kind: Literal["sensor", "schedule"]
    name: str
    status: str
    problem: str | None
    waiting: int
    error: Json = None


class PromiseAnswer(Answer):
    """Where it stands under its freshness policy. `deadline`: when it lapses, or lapsed; None where no instant comes,
    or where the policy that it lapsed under is another now."""

    state: FreshnessState
    deadline: float | None


class GateAnswer(Answer):
    """A blocking check that holds back from those below what was made: it `failed`, at `at`, in the run `run_id`; or it
    has not looked at it yet, and the run `run_id` is to do so, or none."""

    check: str
    failed: bool
    at: float | None
    run_id: int | None


class WhyAnswer(Answer):
    """`partitions`: how many the asset has, None without. `condition`: names the condition in force; `tree`: None
    without one. `needs`: what would make it true, each by itself. `added_at`: when the partition came to be, where that
    is known. `reported`: what made it last, where that was no run. `run`: the last that makes this partition;
    `earlier`: the condition that asked for it, where another is in force now. `gates`: the blocking checks that hold
    back what is there. `stopped`: the end of a chain of automatic runs since then. `freshness`: of the partition, where
    the policy is for each; else of the asset; None without one. `external`: no run makes it."""

    asset: str
    external: bool
    partition: str | None
    partitions: int | None
    now: float
    freshness: PromiseAnswer | None
    definitions_version: str
    state: Literal["missing", "materialized", "failed", "in_progress"]
    condition: str | None
    tree: WhyNode | None
    needs: tuple[str, ...]
    dependencies: tuple[DependencyAnswer, ...]
    makers: tuple[MakerAnswer, ...]
    added_at: float | None
    reported: EventAnswer | None = None
    run: RunAnswer | None
    earlier: str | None
    gates: tuple[GateAnswer, ...] = ()
    stopped: EventAnswer | None
