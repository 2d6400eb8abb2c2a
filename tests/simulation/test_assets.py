"""Freshness, conditions and arrivals in virtual time, and that the engine does the same on a real store."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path

from tests.engine.rig import rig
from tests.simulation.folder import folder_at

from freshet import AutomationCondition, Freshness, Schedule, asset
from freshet.engine.clock import SimulatedClock
from freshet.engine.engine import EngineOptions
from freshet.engine.simulation.entries import Entry
from freshet.engine.simulation.simulation import Plan, simulate
from freshet.executors.base import LoadReport
from freshet.host.describe import catalog
from freshet.store.queries import runs as read_runs

ORDERS = Path(__file__).resolve().parents[2] / "plugins" / "orders.py"

LAPSES = """
from freshet import AutomationCondition, Freshness, Schedule, asset

@asset(freshness=Freshness(within="2h", warn="90m"))
def prices(): return 1

@asset(automation=AutomationCondition.on_lapse())
def alarm(prices): return 1

Schedule("rare", cron="0 */3 * * *", target=prices)
"""


def test_freshness_warns_lapses_and_is_restored(tmp_path: Path) -> None:
    folder = folder_at(tmp_path, timezone="UTC", lapses=LAPSES)
    told = folder.entries("--from", "2026-05-01T02:59", "--until", "4h", "--duration", "prices=5m")
    changes = [(one["at"][11:19], one["kind"], one["name"]) for one in told if one["kind"] not in ("note", "summary")]
    assert changes == [
        ("03:00:00", "tick", "rare"),
        ("03:00:00", "started", "prices"),
        ("03:05:00", "succeeded", "prices"),
        ("04:35:00", "warned", "prices"),
        ("05:05:00", "lapsed", "prices"),
        ("05:05:00", "started", "alarm"),
        ("05:05:01", "succeeded", "alarm"),
        ("06:00:00", "tick", "rare"),
        ("06:00:00", "started", "prices"),
        ("06:05:00", "succeeded", "prices"),
        ("06:05:00", "restored", "prices"),
    ]
    assert told[-1]["lapses"] == {"prices": 1}


def test_files_that_arrive_come_to_sales(tmp_path: Path) -> None:
    folder = folder_at(tmp_path, timezone="UTC")
    shutil.copy(ORDERS, tmp_path / "plugins")
    (tmp_path / "listing.txt").write_text(
        "# one morning\n"
        "2026-03-01T08:00 inbox/a.csv\n"
        f"2026-03-01T08:30 {tmp_path}/inbox/b.csv\n"
        "\n"
        "2026-03-01T09:00 elsewhere/c.csv\n"
        "2026-03-01T09:01 inbox/.hidden.csv\n"
        f"2026-03-01T09:02 inbox/{'x' * 201}.csv\n"
        "2027-01-01 inbox/late.csv\n"
    )
    told = folder.entries("--from", "2026-03-01T07:30", "--until", "3h", "--files", "listing.txt")
    notes = "\n".join(one["detail"] for one in told if one["kind"] == "note")
    assert "sensors that take arrivals: landing" in notes
    assert "listing.txt:5: nobody watches elsewhere/c.csv" in notes
    assert "listing.txt:6: nobody watches inbox/.hidden.csv" in notes
    assert "listing.txt:7: landing passes over" in notes
    assert "1 arrival is before --from or after --until" in notes
    of_a = [
        (one["at"][11:], one["kind"], one["name"], one.get("partition"))
        for one in told
        if "T08:0" in one.get("at", "") and one["kind"] != "summary"
    ]
    assert of_a == [
        ("08:00:00.250+00:00", "tick", "landing", None),
        ("08:00:00.250+00:00", "added", "batches", "a"),
        ("08:00:00.250+00:00", "started", "raw_orders", "a"),
        ("08:00:01.250+00:00", "succeeded", "raw_orders", "a"),
        ("08:00:01.250+00:00", "started", "clean_orders", "a"),
        ("08:00:02.250+00:00", "succeeded", "clean_orders", "a"),
        ("08:00:02.250+00:00", "started", "sales", None),
        ("08:00:03.250+00:00", "succeeded", "sales", None),
        ("08:00:03.250+00:00", "started", "sales.not_negative", None),
        ("08:00:04.250+00:00", "succeeded", "sales.not_negative", None),
    ]
    assert told[-1]["ticks"] == {"landing": 2}
    assert told[-1]["runs"]["raw_orders"]["runs"] == 2
    assert not (tmp_path / "state").exists()


def test_it_does_what_the_engine_does_on_a_real_store(tmp_path: Path) -> None:
    """The oracle is the engine with its own store and the plugins' own functions, two days of it."""

    @asset(freshness=Freshness(within="5h", warn="4h"))
    def tide() -> int:
        return 1

    @asset(automation=AutomationCondition.eager())
    def chart(tide: int = 0) -> int:
        return tide

    @asset(automation=AutomationCondition.on_lapse())
    def siren(tide: int) -> int:
        return tide

    schedules = [Schedule("tides", cron="10 */6 * * *", target=tide), Schedule("often", every="7h", target=chart)]
    objects = [tide, chart, siren, *schedules]
    lasts = {"tide": 90.0, "chart": 600.0, "siren": 1.5}
    begin, length = 1_790_000_000.0, 2 * 86400.0
    told: list[Entry] = []

    async def both() -> list[tuple[float, str]]:
        plan = Plan(begin, begin + length, tmp_path / "simulated.db", EngineOptions(workers=2), lasts)
        await simulate(plan, LoadReport(catalog(objects, version="1").definitions), told.append, stop=lambda: False)
        clock = SimulatedClock.steadily(begin)
        (tmp_path / "real").mkdir()
        async with rig(tmp_path / "real", objects, clock=clock, duration=lambda step: lasts[step.name]) as made:
            await made.advance(length - 0.5)
            rows = await made.store.read(partial(read_runs, limit=10_000))
            changes = [(one.at, one.type) for one in await made.events() if one.type.startswith("freshness_")]
        steps = [(step, row) for row in rows for step in row.steps]
        begun = [(step.started_at or 0.0, f"started {step.name}") for step, _ in steps]
        ended = [(step.ended_at, f"succeeded {step.name}") for step, _ in steps if step.state == "succeeded"]
        return sorted([*begun, *[one for one in ended if one[0] is not None], *changes])  # type: ignore[list-item]

    expected = asyncio.run(both())
    words = {"warned": "freshness_warned", "lapsed": "freshness_lapsed", "restored": "freshness_restored"}
    runs = [(one.at, f"{one.kind} {one.name}") for one in told if one.kind in ("started", "succeeded")]
    found = sorted([*runs, *((one.at, words[one.kind]) for one in told if one.kind in words)])
    assert found == expected
    assert len(found) > 60
