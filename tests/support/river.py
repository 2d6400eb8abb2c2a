"""The plugin of the crash tests: file -> partition -> raw -> clean -> sales, and a policy that lapses.

Its steps write down that they began and ended, and hold a lock meanwhile, so that a step that runs twice at once, or
one attempt that is started twice, leaves a trace.

Files are named for what they do: `good-*`, `flaky-*` (fails the first time it is read), `bad-*` (not all numbers),
`slow-*` (ends when a file `go` is there). Files in `beats/` refresh `pulse`, one each; where none comes for a second,
`echo` follows. A file `stumble` makes the sensor that counts them fail once.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MAX_WAIT", "PLUGIN", "Witnessed", "amounts", "beat", "beats", "drop", "is_good", "witnessed"]

MAX_WAIT = 2.0
"""Seconds: `max_wait` of `sales`."""

PLUGIN = """
import csv
import fcntl
import json
import os
import time
from contextlib import contextmanager
from pathlib import Path

from freshet import AutomationCondition, DynamicPartitions, Freshness, Report, Retries, asset, sensor
from freshet_sensors import FileSensor

batches = DynamicPartitions("batches")
landing = FileSensor(
    "landing", path="inbox", pattern="{batch}.csv", partitions=batches, target="raw", interval="1s", settle="100ms"
)


def witness(ctx, what):
    line = json.dumps([what, ctx.run_id, ctx.asset, ctx.attempt, os.getpid()]) + "\\n"
    file = os.open("witness.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, line.encode())
    os.close(file)


@contextmanager
def witnessed(ctx):
    Path("locks").mkdir(exist_ok=True)
    with open(f"locks/{ctx.run_id}-{ctx.asset}", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            witness(ctx, "twice at once")
            raise
        witness(ctx, "begin")
        yield
        witness(ctx, "end")


@asset(partitions=batches, retries=Retries(3, delay="50ms", cap="200ms"))
def raw(ctx) -> list[dict]:
    with witnessed(ctx):
        path = Path(ctx.partition.metadata["path"])
        while path.name.startswith("slow-") and not os.path.exists("go"):
            time.sleep(0.01)
        if path.name.startswith("flaky-"):
            try:
                os.close(os.open(f"locks/{path.name}.failed", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except FileExistsError:
                pass
            else:
                raise RuntimeError("not the first time")
        with open(path) as file:
            return list(csv.DictReader(file))


@asset(partitions=batches, automation=AutomationCondition.eager())
def clean(ctx, raw: list[dict]) -> list[dict]:
    with witnessed(ctx):
        return [{"amount": int(row["amount"])} for row in raw]


@asset(automation=AutomationCondition.eager(max_wait="2s") | AutomationCondition.on_lapse())
def sales(ctx, clean: dict[str, list[dict]]) -> dict:
    with witnessed(ctx):
        ctx.metadata(batches=len(clean))
        return {"total": sum(row["amount"] for rows in clean.values() for row in rows), "keys": sorted(clean)}


@asset(freshness=Freshness(within="1s", warn="500ms"))
def pulse():
    return None


@asset(deps=["pulse"], automation=AutomationCondition.on_lapse())
def echo(ctx) -> int:
    with witnessed(ctx):
        return ctx.run_id


@sensor(interval="100ms")
async def beats(ctx):
    if os.path.exists("stumble"):
        os.unlink("stumble")
        raise RuntimeError("stumbled")
    known = ctx.cursor or 0
    there = len(list(Path("beats").glob("*"))) if Path("beats").exists() else 0
    if there > known:
        yield Report("pulse", metadata={"beats": there})
        ctx.cursor = there
        await ctx.checkpoint()
"""


def amounts(key: str) -> list[int]:
    """What the file of this key holds: the same in every run of a test."""
    rng = random.Random(key)
    return [rng.randrange(1, 1000) for _ in range(rng.randrange(1, 20))]


def is_good(key: str) -> bool:
    """Whether the file of this key can be read in the end."""
    return not key.startswith("bad-")


def drop(inbox: Path, key: str, *, rename: bool) -> None:
    """Let a file land: by renaming it into place, or by writing it there."""
    lines = ["id,amount", *(f"{n},{amount}" for n, amount in enumerate(amounts(key)))]
    if not is_good(key):
        lines[1] = "0,no number"
    text = "\n".join(lines) + "\n"
    target = inbox / f"{key}.csv"
    if rename:
        aside = inbox.parent / f".{key}.aside"
        aside.write_text(text)
        aside.rename(target)
    else:
        target.write_text(text)


def beat(folder: Path) -> None:
    """Refresh `pulse` once."""
    number = beats(folder)
    (folder / "beats").mkdir(exist_ok=True)
    (folder / "beats" / str(number)).touch()


def beats(folder: Path) -> int:
    """How often that was asked for."""
    return len(list((folder / "beats").glob("*")))


@dataclass(frozen=True)
class Witnessed:
    """A line that a step wrote: 'begin', 'end' or 'twice at once'."""

    what: str
    run_id: int
    asset: str
    attempt: int
    pid: int


def witnessed(folder: Path) -> list[Witnessed]:
    """What the steps wrote, in order."""
    path = folder / "witness.jsonl"
    if not path.exists():
        return []
    return [Witnessed(*json.loads(line)) for line in path.read_text().split(os.linesep) if line]
