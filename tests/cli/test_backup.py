"""Backups of a state that is at work, and a daemon that goes on from one."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.daemon import Daemon, Site, site_at, wait_until

PLUGIN = """
from pathlib import Path

from freshet import DynamicPartitions, asset, job
from freshet_sensors import FileSensor

batches = DynamicPartitions("batches")
landing = FileSensor("landing", path="inbox", pattern="{batch}.csv", partitions=batches, target="raw")


@asset(partitions=batches)
def raw(ctx) -> str:
    print("is made")
    with Path("ran").open("a") as file:
        file.write(ctx.partition.key + "\\n")
    return ctx.partition.key


@job
def touch() -> None: ...
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Files that land are materialized, and say so in `ran`."""
    with site_at(tmp_path / "site", plugins={"plugin.py": PLUGIN}) as made:
        yield made


def land(site: Site, first: int, last: int) -> None:
    """Files of these numbers."""
    for number in range(first, last):
        (site.inbox / f"{number:04}.csv").write_text("x")


def ran(site: Site) -> Counter[str]:
    """How often each batch was made."""
    file = site.folder / "ran"
    return Counter(file.read_text().split()) if file.exists() else Counter()


def made(site: Site, daemon: Daemon, many: int) -> None:
    """So many batches are, and nothing is under way."""
    daemon.wait_until(lambda: len(ran(site)) >= many and daemon.idle(), f"{many} batches are made")


def rows(path: Path, sql: str) -> list[Any]:
    """Of a database nobody has open."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def test_a_daemon_goes_on_from_a_backup(site: Site) -> None:
    """Taken under load, again and again; the last is put in force: it runs what came after it, and nothing twice that
    had ended in it."""
    daemon = site.start().ready()
    land(site, 0, 20)
    made(site, daemon, 20)
    for n in range(4):
        land(site, 20 + 40 * n, 60 + 40 * n)
        about = site.cli_json("backup", str(site.folder / f"b{n}"), "--values")
        assert about["values_missing"] == 0
    made(site, daemon, 180)
    assert daemon.stop() == 0
    copy = site.folder / "b3"
    assert rows(copy / "freshet.db", "PRAGMA integrity_check") == [("ok",)]
    ended = {key for (key,) in rows(copy / "freshet.db", ENDED)}
    assert len(ended) >= 20
    assert json.loads((copy / "backup.json").read_text())["values"] == len(ended)

    shutil.rmtree(site.state)
    before = ran(site)
    site.cli_json("restore", str(copy))
    daemon = site.start().ready()
    daemon.wait_until(lambda: site.cli_json("status")["queued"] == 0 and daemon.idle(), "it is at rest")
    wait_until(lambda: {key for key, _ in (ran(site) - before).items()} | ended >= set(before), "the rest ran again")
    assert not ended & set(ran(site) - before), "what had ended does not run again"
    assert {path.name for path in (site.state / "values" / "raw").iterdir()} >= ended
    assert daemon.stop() == 0


ENDED = """
SELECT p.key FROM runs r JOIN partitions p ON p.set_id = r.set_id AND p.number = r.partition WHERE r.state = 'succeeded'
"""


def test_a_state_is_not_written_over(site: Site) -> None:
    """Without --force it stays; with it, it is put aside. A running daemon is in the way of both."""
    daemon = site.start().ready()
    land(site, 0, 3)
    made(site, daemon, 3)
    site.cli_json("backup", str(site.folder / "b"))
    refused = site.cli("restore", str(site.folder / "b"), "--force")
    assert (refused.returncode, "is in use by process" in refused.stderr) == (1, True)
    land(site, 3, 5)
    made(site, daemon, 5)
    assert daemon.stop() == 0
    refused = site.cli("restore", str(site.folder / "b"))
    assert refused.returncode == 1
    assert "hint: --force puts it aside first" in refused.stderr
    assert len(rows(site.state / "freshet.db", ENDED)) == 5
    about = site.cli_json("restore", str(site.folder / "b"), "--force")
    aside = Path(about["put_aside"])
    assert len(rows(aside / "freshet.db", ENDED)) == 5
    assert (aside / "runs").is_dir()
    assert not (site.state / "runs").exists(), "numbers of runs come again: their journals are not mixed"
    assert len(rows(site.state / "freshet.db", ENDED)) == 3


def test_what_is_damaged_is_refused(site: Site) -> None:
    """A backup that does not hold what it says; the state stays as it is."""
    daemon = site.start().ready()
    land(site, 0, 3)
    made(site, daemon, 3)
    assert daemon.stop() == 0
    site.cli_json("backup", str(site.folder / "b"))
    copy = site.folder / "b" / "freshet.db"
    with copy.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 4)
    refused = site.cli("restore", str(site.folder / "b"), "--force")
    assert refused.returncode == 1
    assert "hint:" in refused.stderr
    assert len(rows(site.state / "freshet.db", ENDED)) == 3
    assert not list(site.state.glob("*.part"))


def test_a_backup_is_never_written_over(site: Site) -> None:
    assert "nothing has run here yet" in site.cli("backup", str(site.folder / "b")).stderr
    site.start().ready().stop()
    site.cli_json("backup", str(site.folder / "b"))
    refused = site.cli("backup", str(site.folder / "b"))
    assert (refused.returncode, "is there already" in refused.stderr) == (1, True)
    assert not (site.folder / "b.part").exists()


def test_a_backup_gives_empty_pages_back(site: Site) -> None:
    """Also of a database that an earlier release made, which does not."""
    site.state.mkdir()
    with closing(sqlite3.connect(site.state / "freshet.db")) as db:
        db.execute("PRAGMA auto_vacuum = NONE")
        db.execute("CREATE TABLE early (x)")
        db.execute("DROP TABLE early")
        db.commit()
    assert site.start().ready().stop() == 0
    assert rows(site.state / "freshet.db", "PRAGMA auto_vacuum") == [(0,)]
    site.cli_json("backup", str(site.folder / "b"))
    assert rows(site.folder / "b" / "freshet.db", "PRAGMA auto_vacuum") == [(2,)]
