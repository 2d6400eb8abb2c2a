"""A folder of 100,000 files: what a file sensor's full look costs, against the ledger that an evaluator holds."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Bar, Bench, Figure, Row

from freshet.host.evaluator.ledger import LedgerCache, TickLedger
from freshet_sensors.look import Folder, look_at_all
from freshet_sensors.pattern import Pattern
from freshet_sensors.scan import File

__all__ = ["FIGURE"]

_FILES = 100_000


def _measure(bench: Bench) -> Iterator[Row]:
    folder = Folder(str(_filled(bench.scratch / "inbox")), Pattern("{name}.csv"))
    cache = LedgerCache(keep_texts=True)
    first = list[float]()
    survey = look_at_all(folder, TickLedger(cache, cache.texts_of))  # what the disk has to say first is not counted
    for _ in range(bench.pick(5, 1)):
        began = time.perf_counter()
        survey = look_at_all(folder, TickLedger(cache, cache.texts_of))
        first.append(time.perf_counter() - began)
        assert len(survey.fresh) == _FILES
    yield Row.of(f"a first look at {_FILES:,} files, all of them new", "s", first, note="without admitting them")
    ledger = TickLedger(cache, cache.texts_of)
    for row in survey.fresh:
        ledger.add(row[0], File(*row).version)
    change = ledger.change()
    assert change is not None
    change.apply(1)
    del survey, ledger, change
    looks, cpu = list[float](), list[float]()
    for _ in range(bench.pick(10, 3)):
        began, worked = time.perf_counter(), time.thread_time()
        assert not look_at_all(folder, TickLedger(cache, cache.texts_of)).fresh
        looks.append(time.perf_counter() - began)
        cpu.append(time.thread_time() - worked)
    yield Row.of(f"a look at {_FILES:,} files, nothing new", "s", looks, Bar(0.5), note="scanned and compared")
    yield Row.of("  CPU for it", "s", cpu, note="of which a plain scandir with stat needs half")
    yield Row.of("  memory that it takes meanwhile", "MiB", [_peak(folder, cache)], Bar(8.0))
    (Path(folder.root) / "7.csv").unlink()
    began = time.perf_counter()
    assert look_at_all(folder, TickLedger(cache, cache.texts_of)).gone == ["7.csv"]
    yield Row.of("  the same where one has gone", "s", [time.perf_counter() - began], note="scanned twice")


def _peak(folder: Folder, cache: LedgerCache) -> float:
    tracemalloc.start()
    try:
        look_at_all(folder, TickLedger(cache, cache.texts_of))
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def _filled(inbox: Path) -> Path:
    inbox.mkdir()
    for number in range(_FILES):
        os.close(os.open(inbox / f"{number}.csv", os.O_CREAT | os.O_WRONLY))
    return inbox


FIGURE = Figure("files", "a folder of 100,000 files: looks of a file sensor", _measure)
