"""What must hold when everything has come to rest, whatever was killed before. Read after the daemon's end."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.river import Witnessed, amounts, is_good, witnessed

from freshet.io.registry import ValueRef, read_value

__all__ = ["check"]


def check(folder: Path, keys: set[str]) -> None:
    """`folder`: of a site with the river's plugin; `keys`: of all files that landed. Raises naming every fault."""
    faults: list[str] = []
    with closing(sqlite3.connect(f"file:{folder}/state/freshet.db?mode=ro", uri=True)) as db:
        rest = Rest(db, folder / "state" / "values", keys, witnessed(folder))
        for rule in RULES:
            faults += [f"{rule.__name__}: {fault}" for fault in rule(rest)]
    assert not faults, "\n".join(faults)


class Rest:
    """The state at rest, as rules read it."""

    def __init__(self, db: sqlite3.Connection, values: Path, keys: set[str], steps: list[Witnessed]) -> None:
        self.db = db
        self.values = values
        self.keys = keys
        self.good = {key for key in keys if is_good(key)}
        self.steps = steps

    def rows(self, sql: str, *parameters: Any) -> list[Any]:
        """All rows."""
        return self.db.execute(sql, parameters).fetchall()

    def column(self, sql: str, *parameters: Any) -> list[Any]:
        """The first value of each row."""
        return [row[0] for row in self.rows(sql, *parameters)]

    def one(self, sql: str, *parameters: Any) -> Any:
        """The first value of the only row."""
        (value,) = self.column(sql, *parameters)
        return value


def database_is_sound(rest: Rest) -> list[str]:
    """As SQLite sees it."""
    found = [text for text in rest.column("PRAGMA integrity_check") if text != "ok"]
    return found + [f"row {row} points nowhere" for row in rest.rows("PRAGMA foreign_key_check")]


def each_file_is_admitted_once(rest: Rest) -> list[str]:
    """The ledger, the partitions and the runs agree with the files."""
    ledger = Counter(rest.column(_LEDGER))
    partitions = Counter(rest.column(_PARTITIONS))
    runs = Counter(rest.column(_RUNS_OF_LANDING))
    keyed = Counter(rest.column("SELECT partition FROM run_keys WHERE target = 'raw'"))
    wanted = Counter(rest.keys)
    faults: list[str] = []
    for what, found in (("ledger", ledger), ("partitions", partitions), ("runs", runs), ("run keys", keyed)):
        if found != wanted:
            faults.append(f"{what}: missing {dict(wanted - found)}, too many {dict(found - wanted)}")
    faults += [f"run key without its run: {row}" for row in rest.rows(_KEYS_WITHOUT_RUN)]
    return faults


_LEDGER = """
SELECT replace(replace(l.key, rtrim(l.key, replace(l.key, '/', '')), ''), '.csv', '') FROM ledger l
JOIN tickers t ON t.id = l.ticker_id WHERE t.name = 'landing'
"""
_PARTITIONS = """
SELECT p.key FROM partitions p JOIN partition_sets s ON s.id = p.set_id
WHERE s.name = 'batches' AND p.deleted_at IS NULL
"""
_RUNS_OF_LANDING = """
SELECT p.key FROM runs r JOIN partitions p ON p.set_id = r.set_id AND p.number = r.partition
WHERE r.target = 'raw' AND r.origin = 'sensor:landing'
"""
_KEYS_WITHOUT_RUN = """
SELECT k.* FROM run_keys k LEFT JOIN runs r ON r.id = k.run_id AND r.run_key = k.run_key WHERE r.id IS NULL
"""


def ticks_are_whole(rest: Rest) -> list[str]:
    """What each tick says that it did is there, and nothing else is."""
    faults: list[str] = []
    for what, said, there in (
        ("ledger entries", "sum(ledger_added)", "(SELECT count(*) FROM ledger)"),
        ("partitions", "sum(partitions_added)", "(SELECT count(*) FROM partitions)"),
        ("runs", "sum(runs)", "(SELECT count(*) FROM runs WHERE tick_id IS NOT NULL)"),
    ):
        told, found = rest.rows(f"SELECT {said}, {there} FROM ticks")[0]
        if (told or 0) != found:
            faults.append(f"the ticks say {told} {what}, {found} are there")
    faults += [f"an entry of no committed tick: {row}" for row in rest.rows(_STRAY_ENTRIES)]
    faults += [f"a ticker behind its ticks: {row}" for row in rest.rows(_TICKERS_BEHIND)]
    beats = rest.one("SELECT cursor FROM tickers WHERE name = 'beats'")
    reports = rest.one("SELECT count(*) FROM events WHERE type = 'materialized' AND run_id IS NULL")
    committed = rest.one(_TICKS_OF_BEATS)
    if not reports <= (json.loads(beats) or 0) or reports != committed:
        faults.append(f"beats: cursor {beats}, {reports} reports, {committed} committed ticks")
    return faults


_TICKS_OF_BEATS = """
SELECT count(*) FROM ticks k JOIN tickers t ON t.id = k.ticker_id WHERE t.name = 'beats' AND k.status = 'committed'
"""
_STRAY_ENTRIES = """
SELECT l.key FROM ledger l
LEFT JOIN ticks t ON t.id = l.tick_id AND t.ticker_id = l.ticker_id AND t.status = 'committed'
WHERE t.id IS NULL
"""
_TICKERS_BEHIND = """
SELECT t.name, t.last_tick, max(k.id) FROM tickers t JOIN ticks k ON k.ticker_id = t.id
GROUP BY t.id HAVING t.last_tick < max(k.id)
"""


def every_run_has_ended(rest: Rest) -> list[str]:
    """Nothing is queued, started or interrupted for ever, and no run failed but those of bad files."""
    faults = [f"run {row}" for row in rest.rows("SELECT id, target, state FROM runs WHERE ended_at IS NULL")]
    faults += [
        f"step {row}"
        for row in rest.rows(
            "SELECT run_id, name, state, attempt FROM steps WHERE state NOT IN ('succeeded', 'failed', 'skipped')"
        )
    ]
    failed = rest.rows(
        """
        SELECT r.id, r.target, p.key, r.state, r.error, s.error FROM runs r JOIN steps s ON s.run_id = r.id
        LEFT JOIN partitions p ON p.set_id = r.set_id AND p.number = r.partition WHERE r.state <> 'succeeded'
        """
    )
    return faults + [f"run {row}" for row in failed if row[2] is None or is_good(row[2])]


def every_good_file_is_made(rest: Rest) -> list[str]:
    """raw and clean of each good file, and no clean of a bad one."""
    faults: list[str] = []
    for asset, wanted in (("raw", rest.keys), ("clean", rest.good)):
        made = set(rest.column(_MADE, asset))
        if made != wanted:
            faults.append(f"{asset}: missing {sorted(wanted - made)}, too many {sorted(made - wanted)}")
    return faults


_MADE = """
SELECT p.key FROM asset_state s JOIN assets a ON a.id = s.asset_id
JOIN partitions p ON p.set_id = a.set_id AND p.number = s.partition
WHERE a.name = ? AND s.materialized_seq IS NOT NULL
"""


def values_are_valid(rest: Rest) -> list[str]:
    """Each published value is whole, and is that of the step's attempt in force; `sales` adds up."""
    faults: list[str] = []
    for asset, key, text, run_id, attempt, state in rest.rows(_VALUES):
        ref = ValueRef(*json.loads(text))
        value = read_value(rest.values, ref)
        if Path(ref.path).stem != f"{run_id}-{attempt}" or state != "succeeded":
            faults.append(f"{asset} {key}: {ref.path} is published, step {run_id} is at attempt {attempt}, {state}")
        if asset == "clean" and [row["amount"] for row in value] != amounts(key):
            faults.append(f"clean {key}: {value}")
        if asset == "sales":
            total = sum(sum(amounts(one)) for one in rest.good)
            if value != {"total": total, "keys": sorted(rest.good)}:
                faults.append(f"sales: {value['total']} of {len(value['keys'])}, not {total} of {len(rest.good)} files")
    return faults


_VALUES = """
SELECT a.name, p.key, s.value, s.run_id, t.attempt, t.state FROM asset_state s JOIN assets a ON a.id = s.asset_id
LEFT JOIN partitions p ON p.set_id = a.set_id AND p.number = s.partition
JOIN steps t ON t.run_id = s.run_id AND t.asset_id = s.asset_id AND t.partition = s.partition
WHERE s.value IS NOT NULL
"""


def steps_ran_one_at_a_time(rest: Rest) -> list[str]:
    """No attempt began twice, none ran beside another of its step, none that the store has not counted."""
    faults = [f"{step}" for step in rest.steps if step.what == "twice at once"]
    begun = Counter((step.run_id, step.asset, step.attempt) for step in rest.steps if step.what == "begin")
    faults += [f"attempt began {times} times: {step}" for step, times in begun.items() if times > 1]
    counted = {(run, name): attempt for run, name, attempt in rest.rows("SELECT run_id, name, attempt FROM steps")}
    faults += [
        f"attempt {attempt} of {name} in run {run} began, {counted.get((run, name))} are counted"
        for run, name, attempt in begun
        if attempt > counted.get((run, name), 0)
    ]
    return faults


def events_have_no_gap(rest: Rest) -> list[str]:
    """Numbers are contiguous; those of one transaction lie together and name its first."""
    faults: list[str] = []
    last, txn = 0, 0
    for seq, found in rest.rows("SELECT seq, txn FROM events ORDER BY seq"):
        if seq != last + 1:
            faults.append(f"{seq} follows {last}")
        if found not in (seq, txn):
            faults.append(f"event {seq} is of transaction {found}, after {txn}")
        last, txn = seq, found
    if last != rest.one("SELECT seq FROM sqlite_sequence WHERE name = 'events'"):
        faults.append(f"the sequence stands elsewhere than {last}")
    return faults


def each_lapse_is_one_event(rest: Rest) -> list[str]:
    """One event an episode, and no more runs than episodes."""
    episodes = rest.column("SELECT seq FROM lapses")
    events = rest.column("SELECT seq FROM events WHERE type = 'freshness_lapsed'")
    runs = rest.one("SELECT count(*) FROM runs WHERE target = 'echo'")
    faults = [] if sorted(episodes) == sorted(events) else [f"episodes {episodes}, events {events}"]
    return faults if runs <= len(episodes) else [*faults, f"{runs} runs of echo for {len(episodes)} episodes"]


RULES: tuple[Callable[[Rest], list[str]], ...] = (
    database_is_sound,
    each_file_is_admitted_once,
    ticks_are_whole,
    every_run_has_ended,
    every_good_file_is_made,
    values_are_valid,
    steps_ran_one_at_a_time,
    events_have_no_gap,
    each_lapse_is_one_event,
)
