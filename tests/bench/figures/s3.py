"""A bucket: from an object to the first line of the asset's function, a long listing of known keys, a large ledger.

moto takes most of the time of a listing, so the long one is served by the tests' own S3, from a thread, which keeps the
pages that it has made once.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

from tests.bench.figure import Bar, Bench, Figure, Row
from tests.bench.waiting import until
from tests.support.fake_s3 import fake_s3
from tests.support.moto import KEYS, moto_server

__all__ = ["FIGURE"]

_PLUGIN = """\
import time

from freshet import DynamicPartitions, asset
from freshet_sensors import S3Sensor

batches = DynamicPartitions("batches")
landing = S3Sensor(
    "landing", bucket="lake", endpoint_url="{url}", access_key="env:S3_KEY", secret_key="env:S3_SECRET",
    queue_url="{queue}", pattern="{{batch}}.csv", partitions=batches, target="raw", interval="1h",
)


@asset(partitions=batches)
def raw(ctx):
    with open("{folder}/" + ctx.partition.key, "w") as file:
        file.write(str(time.time()))
"""
_LEDGER = """\
from pathlib import Path
from freshet.host.evaluator.ledger import LedgerCache, digest_of, version_of
def resident():
    return int(Path('/proc/self/statm').read_text().split()[1]) * 4096


before = resident()
cache = LedgerCache()
for number in range(1_000_000):
    cache.entries[digest_of(f"in/2026/11/21/batch-{number:08}.csv")] = version_of(str(number))
print((resident() - before) / 2**20)
"""


def _measure(bench: Bench) -> Iterator[Row]:
    os.environ |= KEYS
    yield _first_line(bench)
    yield from asyncio.run(_listing(100_000, bench.pick(5, 2)))
    told = subprocess.run([sys.executable, "-c", _LEDGER], capture_output=True, text=True, check=True).stdout
    yield Row.of("ledger of 1,000,000 keys in the evaluator", "MiB", [float(told)], Bar(100))


def _first_line(bench: Bench) -> Row:
    with moto_server() as moto:
        s3, queue = moto.bucket("lake"), moto.notify("lake")
        folder = bench.scratch / "s3-lines"
        folder.mkdir(exist_ok=True)
        plugin = _PLUGIN.format(url=moto.url, queue=queue, folder=folder)
        values = list[float]()
        with bench.lab("s3", {"landing.py": plugin}) as lab:
            lab.settle()
            for number in range(bench.pick(50, 10) + 1):
                line = folder / f"batch-{number}"
                began = time.time()
                s3.put_object(Bucket="lake", Key=f"batch-{number}.csv", Body=b"1")
                until(partial(_written, line), str(line), timeout=60, every=0.005)
                values.append((float(line.read_text()) - began) * 1000)
                line.unlink()
    return Row.of("object put -> first line, by the queue", "ms", values[1:], Bar(150), note="S3 and SQS are moto's")


def _written(line: Path) -> bool:
    return line.exists() and bool(line.read_text())


async def _listing(count: int, times: int) -> list[Row]:
    from tests.sensors.s3_support import made
    from tests.sensors.support import NOW, Context, Log

    from freshet.host.evaluator.ledger import LedgerCache, TickLedger
    from freshet_sensors.s3_client import open_client
    from freshet_sensors.s3_list import Bucket, Patience

    with _served(count) as url:
        sensor, cache, cursor = made(url, partitions=None, key=None), LedgerCache(), None

        async def look() -> int:
            """As an evaluator does it, with its own ledger; returns how many runs are asked for."""
            nonlocal cursor
            found, ledger = 0, TickLedger(cache, lambda _: {})
            log: Any = Log()

            def commit() -> None:
                change = ledger.change()
                if change is not None:
                    change.apply(cache.revision + 1, ledger)

            context = Context(cursor, cast("Any", ledger), None, NOW, log, commit)
            async for _said in sensor.evaluate(cast("Any", context)):
                found += 1
            commit()
            cursor = context.cursor
            return found

        assert await look() == count
        ratios, bare, busy = list[float](), list[float](), list[float]()
        async with open_client("s3", sensor.access) as client:
            for _ in range(times):
                began, worked = time.perf_counter(), time.thread_time()
                async for _page in Bucket(client, "lake", "").pages(None, Patience()):
                    pass
                bare.append(time.perf_counter() - began)
                listed = time.thread_time() - worked
                began, worked = time.perf_counter(), time.thread_time()
                assert await look() == 0
                ratios.append((time.perf_counter() - began) / bare[-1])
                busy.append((time.thread_time() - worked) / listed)
        await sensor.close()
    note = "the tests' own S3, of pages made before"
    return [
        Row.of(f"{count:,} known keys, bare listing", "s", bare, note=note),
        Row.of(f"{count:,} known keys, looked at / bare listing", "", ratios, Bar(1.3), note=note),
        Row.of(f"{count:,} known keys, the same in seconds of CPU", "", busy, note=note),
    ]


@contextmanager
def _served(count: int) -> Generator[str]:
    """The tests' own S3 with so many objects, in a thread."""
    loop, ready, found = asyncio.new_event_loop(), threading.Event(), list[Any]()

    async def serve() -> None:
        async with fake_s3() as s3:
            for number in range(count):
                s3.put(f"{number:08}.csv")
            end = asyncio.Event()
            found.extend([s3.url, end])
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait(60)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(found[1].set)
        thread.join()


FIGURE = Figure("s3", "an object -> first line by a queue; a listing of known keys; a ledger of a million", _measure)
