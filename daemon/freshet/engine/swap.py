"""Other definitions come into force, between ticks: one commit, then one turn of the loop in which everything that was
made of the old ones is changed or made anew.

What decides by itself rests meanwhile, and what looks in flight find waits, so that nothing is decided by definitions
that the store has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from freshet.definitions.graph import Definitions
from freshet.engine.calendar import Calendar
from freshet.engine.freshness import FreshnessBook
from freshet.engine.instruments import persist, recall
from freshet.engine.naming import carry_on
from freshet.engine.queue.known import Held
from freshet.engine.refresher import Refresher
from freshet.engine.retirer import Retirer
from freshet.executors.base import CodeHost, LoadReport
from freshet.store.coming import Came, bring_into_force
from freshet.store.inbox import inbox_counts
from freshet.store.records import QueuedStep

if TYPE_CHECKING:
    from freshet.engine.engine import Engine

__all__ = ["other_sets", "redefine_steps", "swap"]


async def swap(engine: Engine, host: CodeHost, report: LoadReport, held: frozenset[str]) -> None:
    """Let `report` be in force, and `host` serve it, which was opened without the sensors that others have `held`."""
    instruments, definitions = engine.instruments, report.definitions
    before = instruments.in_force.definitions
    await engine.automator.pause()
    await engine.backfills.pause()
    for one in (engine.calendar, engine.retirer, engine.refresher):
        one.stop()
    engine.timetable.open = False
    ends = gone(before, definitions)
    if ends:
        await engine.ticks.write_counts()
    instruments.in_force.note_news()
    coming = partial(
        bring_into_force,
        definitions=definitions,
        gone=ends,
        sets=other_sets(before, definitions),
        now=instruments.clock.now(),
    )
    came = await persist(instruments, coming, what="other definitions")
    if came.events:
        await engine.automator.catch_up(came.events[0].seq)
    counts = await recall(instruments, inbox_counts, what="the inbox")
    made = engine.ticks.made(definitions, came.sensors)
    prepared = await engine.pending.prepare(made, definitions)
    # From here on nothing waits until all is changed.
    news = instruments.in_force.change(definitions, came.sets)
    engine.load_report = report
    engine.ticks.redefine(definitions, made)
    engine.inbox.redefine(definitions, counts)
    engine.listening.adopt(definitions)
    engine.pending.redefine(engine.ticks.sensors.values(), prepared)
    engine.timetable.open = True
    engine.timetable.redefine(definitions, came.schedules)
    _make_anew(engine, came)
    engine.automator.resume(definitions, came.sets, came.moved, came.renamed)
    engine.refresher.published(news)
    engine.hosting.swap(host, held)
    redefine_steps(engine, definitions, came.renamed)
    for executor in engine.launcher.executors.values():
        executor.prepare(definitions, report.sources)
    instruments.bus.publish(came.events)
    for start in (engine.refresher.start, engine.calendar.start, engine.retirer.start, engine.ticks.look_anew):
        start()
    engine.backfills.redefine(came.renamed)
    instruments.work.spawn(carry_on(engine))
    engine.launcher.dispatch()


def redefine_steps(engine: Engine, definitions: Definitions, renamed: Mapping[str, str]) -> None:
    """What waits and what is under way: it goes by its new name."""

    def anew(step: QueuedStep) -> Held:
        name = _name(step.name, renamed)
        found = step if name == step.name else replace(step, name=name)
        return found, definitions.depth.get(name, 0), definitions.uses.get(name)

    launcher = engine.launcher
    if renamed:
        launcher.running.update(
            {key: replace(step, name=_name(step.name, renamed)) for key, step in launcher.running.items()}
        )
    launcher.queue.redefine(anew, definitions.alone, renamed)


def _name(name: str, renamed: Mapping[str, str]) -> str:
    """Of a step: an asset's, or with a check's after it."""
    asset, dot, check = name.partition(".")
    return f"{renamed.get(asset, asset)}{dot}{check}"


def gone(before: Definitions, after: Definitions) -> tuple[tuple[str, str], ...]:
    """Kind and name of the tickers that are declared no more."""
    sensors = (("sensor", one.name) for one in before.sensors if one.name not in after.sensor)
    schedules = (("schedule", one.name) for one in before.schedules if one.name not in after.schedule)
    return (*sensors, *schedules)


def other_sets(before: Definitions, after: Definitions) -> frozenset[str]:
    """The sets that are not what they were: what is known of these in memory says nothing of them any more."""
    known = before.partition_set
    named = {one.partitions for one in after.sensors if one.partitions is not None}
    return frozenset(
        [name for name, one in after.partition_set.items() if known.get(name) != one] + [*(named - known.keys())]
    )


def _make_anew(engine: Engine, came: Came) -> None:
    """What keeps nothing that is not in the store."""
    instruments = engine.instruments
    engine.calendar, engine.retirer = Calendar(instruments), Retirer(instruments)
    engine.refresher = Refresher(instruments, FreshnessBook(instruments.in_force.definitions, came.freshness))
