"""Promise 3: a delivery that was answered 202 is there after a loss of power, and is evaluated."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from tests.crash.power import remains
from tests.crash.senders import PLUGIN, Memory, address, at_rest, send
from tests.support.daemon import IMPORT_TESTS, Daemon, Site, site_at
from tests.support.signers import SECRET

DATABASE = "freshet.db"
Heard = list[tuple[int, int, str]]
"""Of each answer: how much the record held when it was heard, the number in it, the id sent."""


def on_the_disk(site: Site, record: Path, synchronous: str = "FULL") -> Daemon:
    command = ("-m", "tests.crash.power", synchronous, str(record))
    return site.start(command, env=IMPORT_TESTS).ready()


def deliveries(site: Site, record: Path, synchronous: str) -> Heard:
    """Send some, four at a time, until the daemon is killed in the middle of it."""
    daemon, heard = on_the_disk(site, record, synchronous), Heard()
    url = address(daemon)

    def one(number: int) -> None:
        answer = send(url, f"id {number}", 1)
        size = record.stat().st_size
        assert answer is not None
        assert answer.status_code == 202
        heard.append((size, answer.json()["id"], f"id {number}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(24)))
    daemon.kill()
    return sorted(heard)


def back(files: Mapping[str, bytes], folder: Path) -> Path:
    """Put what remained into a folder; the database's path."""
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal"):
        (folder / name).unlink(missing_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / DATABASE


def kept(path: Path) -> dict[int, str]:
    """The deliveries in a database, which is whole."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        try:
            return dict(db.execute("SELECT id, delivery FROM inbox"))
        except sqlite3.OperationalError:
            return {}  # not even its tables


def lost(heard: Heard, record: bytes, moment: int, rng: random.Random | None, folder: Path) -> list[str]:
    """Which of those answered by some moment are not there after a loss of power then."""
    found = kept(back(remains(record[:moment], rng), folder))
    return [id for size, number, id in heard if size <= moment and found.get(number) != id]


@pytest.mark.parametrize(("synchronous", "safe"), [("FULL", True), ("NORMAL", False), ("OFF", False)])
def test_what_was_answered_is_there_whenever_the_power_fails(tmp_path: Path, synchronous: str, safe: bool) -> None:
    """With SQLite told to flush less, it is not: so this would be seen."""
    with site_at(tmp_path / "site", plugins={"hook.py": PLUGIN}, env={"SECRET": SECRET}) as site:
        heard = deliveries(site, tmp_path / "record", synchronous)
    record, rng = (tmp_path / "record").read_bytes(), random.Random(3)
    moments = {size for size, _, _ in heard} | {rng.randint(heard[0][0], len(record)) for _ in range(10)}
    gone = [id for moment in sorted(moments) for id in lost(heard, record, moment, None, tmp_path)]
    assert bool(gone) != safe, gone
    if safe:
        for moment in moments:
            assert not lost(heard, record, moment, rng, tmp_path), moment


@pytest.mark.parametrize("seed", [None, 5], ids=["nothing more", "some sectors"])
def test_it_goes_on_where_the_power_failed(tmp_path: Path, seed: int | None) -> None:
    """With all that was answered, each evaluated once, whatever else of the database the disk had written."""
    memory, record = Memory(), tmp_path / "record"
    with site_at(tmp_path / "site", plugins={"hook.py": PLUGIN}, grace="2s", env={"SECRET": SECRET}) as site:
        daemon = on_the_disk(site, record)
        url = address(daemon)
        with ThreadPoolExecutor(4) as pool:
            for number, answer in enumerate(pool.map(partial(send, url, body=1), map(str, range(16)))):
                memory.heard(f"{number}", 1, answer)
                if number == 8:
                    daemon.kill()
        assert len(memory.taken) > 8
        back(remains(record.read_bytes(), None if seed is None else random.Random(seed)), site.state)
        daemon = site.start().ready()
        url = address(daemon)
        for id in (*memory.taken, *memory.unsure):
            memory.heard(id, 1, send(url, id, 1))
        assert len(memory.taken) == 16
        daemon.wait_until(lambda: at_rest(daemon), "everything has been looked at")
        assert daemon.stop() == 0
        memory.check(site)
