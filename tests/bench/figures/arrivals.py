"""Files that arrive some ten times a second, and when the asset's function saw each. Shared by two figures."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.lab import Lab
from tests.bench.waiting import TookTooLong, until

__all__ = ["copied", "landing_plugin", "latencies", "renamed"]

_APART = (0.05, 0.15)
"""Seconds between two files, drawn evenly: no rhythm that something else could fall in with."""
_WARM_UP = 5

Arrive = Callable[[Path, str], int]
"""Put a file of that name into the folder; returns the instant before it was complete (nanoseconds since 1970)."""


def landing_plugin(settle: str | None) -> str:
    """A FileSensor with its defaults (or that `settle`) over an asset that notes the instant of its first line."""
    option = "" if settle is None else f', settle="{settle}"'
    return f"""\
import os
import time

from freshet import DynamicPartitions, asset
from freshet_sensors import FileSensor

files = DynamicPartitions("files")
landing = FileSensor("landing", path="inbox", pattern="{{name}}.csv", partitions=files, target="landed"{option})


@asset(partitions=files)
def landed(ctx):
    now = time.time_ns()
    with open("stamps", "a") as file:
        file.write(f"{{ctx.partition.key}} {{now}}\\n")
    return now
"""


def renamed(inbox: Path, name: str) -> int:
    """Write under a temporary name, then rename."""
    draft = inbox / f".{name}.tmp"
    draft.write_text("id,amount\n1,2.5\n")
    before = time.time_ns()
    draft.rename(inbox / name)
    return before


def copied(inbox: Path, name: str) -> int:
    """Copy as cp does: the file grows under its final name."""
    source = inbox.parent / "source.csv"
    if not source.exists():
        source.write_text("id,amount\n1,2.5\n")
    before = time.time_ns()
    shutil.copyfile(source, inbox / name)
    return before


def latencies(lab: Lab, count: int, arrive: Arrive, *, seed: int = 1) -> list[float]:
    """Let `count` files arrive; milliseconds from each to the first line of its function.

    Some files before them are not counted: the first ones find caches cold, as no later one ever does.
    """
    rng = random.Random(seed)
    for number in range(_WARM_UP):
        arrive(lab.inbox, f"warm{number}.csv")
        until(lambda upto=number + 1: len(_stamps(lab)) >= upto, "a file to be taken", timeout=30)  # type: ignore[misc]
    sent = dict[str, int]()
    for number in range(count):
        sent[f"file{number}"] = arrive(lab.inbox, f"file{number}.csv")
        time.sleep(rng.uniform(*_APART))
    try:
        until(lambda: len(_stamps(lab)) >= count + _WARM_UP, "all files to be taken", timeout=60, every=0.1)
    except TookTooLong as late:
        missing = sorted(sent.keys() - _stamps(lab).keys())
        raise TookTooLong(f"{len(missing)} files were never taken, such as {missing[:5]}") from late
    seen = _stamps(lab)
    return [(seen[name] - before) / 1e6 for name, before in sent.items()]


def _stamps(lab: Lab) -> dict[str, int]:
    return dict(_lines(lab.root / "stamps"))


def _lines(path: Path) -> Iterator[tuple[str, int]]:
    """The whole lines; a second run for a file leaves its first stamp in place."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return
    for line in reversed(text[: text.rfind("\n") + 1].splitlines()):
        key, _, stamp = line.partition(" ")
        yield key, int(stamp)
