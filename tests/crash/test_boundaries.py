"""kill -9 at every commit boundary, for every kind of transaction, and what holds afterwards.

`PLAN` says which boundaries each kind passes. A recording run finds out which it passes indeed: a kind or a boundary
that is not in the plan makes that test fail; one that is in the plan and is not passed fails in its own test.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.crash.invariants import check
from tests.crash.points import BOUNDARIES, STORE_BOUNDARIES, Boundary, Point
from tests.crash.scenario import River
from tests.support.daemon import IMPORT_TESTS
from tests.support.river import beat

_PUBLISHED: tuple[Boundary, ...] = ("before BEGIN", "before COMMIT", "before publish", "after COMMIT")
"""A sensor's first failure is published, later ones are not: so it must be killed at that before it is remembered."""

PLAN: dict[str, tuple[Boundary, ...]] = {
    "migration": STORE_BOUNDARIES,
    "register_definitions": STORE_BOUNDARIES,
    "keep_max_chain": STORE_BOUNDARIES,
    "recover": STORE_BOUNDARIES,
    "register_tickers": STORE_BOUNDARIES,
    "bring_into_force": _PUBLISHED,
    "commit_tick": BOUNDARIES,
    "commit_tick (checkpoint)": _PUBLISHED,
    "fail_tick": _PUBLISHED,
    "commit_automation": BOUNDARIES,
    "commit_freshness (warned)": _PUBLISHED,
    "commit_freshness (lapsed)": _PUBLISHED,
    "start_steps": BOUNDARIES,
    "finish_step (succeeded)": _PUBLISHED,
    "finish_step (retry)": STORE_BOUNDARIES,
    "finish_step (failed)": _PUBLISHED,
    "finish_step (interrupted)": _PUBLISHED,
    "admit": BOUNDARIES,
    "count_ticks": STORE_BOUNDARIES,
}

AT_THE_END = ("finish_step (interrupted)", "count_ticks")
"""The kinds that only a shutdown brings about."""
BY_CHANCE = {"add_offence"}
"""The kinds that a busy machine brings about."""


def test_no_boundary_is_left_out(river: River) -> None:
    """Every kind of transaction, at every boundary that it passes, is in the plan."""
    passed = {(boundary, kind) for boundary, kind in record(river) if kind not in BY_CHANCE}
    planned = {(boundary, kind) for kind, boundaries in PLAN.items() for boundary in boundaries}
    assert passed <= planned, f"not in the plan: {sorted(passed - planned)}"


@pytest.mark.parametrize("kind", PLAN)
def test_killed_at_each_boundary(river: River, kind: str) -> None:
    """The first transaction of a kind, at each boundary in turn, on one state."""
    killed_at(river, [Point(boundary, kind) for boundary in PLAN[kind] if _occurs_again(kind, boundary)])


def _occurs_again(kind: str, boundary: Boundary) -> bool:
    return kind != "migration" or boundary == "before COMMIT"  # a schema is made once


@pytest.mark.parametrize("boundary", STORE_BOUNDARIES)
def test_killed_while_the_schema_is_made(river: River, boundary: Boundary) -> None:
    """The very first transaction."""
    killed_at(river, [Point(boundary, "migration")])


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLAN)
def test_killed_at_a_later_passage(river: River, kind: str, tmp_path: Path) -> None:
    """The same at a passage that a recorded run had, drawn at random (`FRESHET_CRASH_SEED`)."""
    rng = random.Random(f"{os.environ.get('FRESHET_CRASH_SEED', '1')} {kind}")
    passages = record(river)
    points = [
        Point(boundary, kind, rng.randint(1, max(1, times * 2 // 3)))
        for (boundary, found), times in sorted(passages.items())
        if found == kind and kind != "migration"
    ]
    killed_at(river, points)


def record(river: River) -> Counter[tuple[Boundary, str]]:
    """How often each kind passes each boundary while all goes well."""
    report = river.site.folder / "passages"
    daemon = river.site.start(("-m", "tests.crash.child", "record", str(report)), env=IMPORT_TESTS)
    assert river.play(daemon) == 0
    points = map(Point.parse, report.read_text().splitlines())
    return Counter((point.boundary, point.kind) for point in points)


def killed_at(river: River, points: Iterable[Point]) -> None:
    """Kill a daemon at each point; then one runs to rest and stops, and what must hold is looked at."""
    for point in points:
        report = river.site.folder / "killed-at"
        report.unlink(missing_ok=True)
        daemon = river.site.start(("-m", "tests.crash.child", str(point), str(report)), env=IMPORT_TESTS)
        status = river.play(daemon, only_the_end=point.kind in AT_THE_END)
        assert report.read_text() == f"{point}\n", f"never passed: {point}"
        assert status == -9
    daemon = river.site.start().ready()
    river.let_slow_ones_go()
    river.land("good-last", rename=True)
    beat(river.site.folder)
    river.wait_at_rest(daemon)
    assert daemon.stop() == 0
    check(river.site.folder, river.keys)
