"""`freshet doctor`: what is wrong is found and has a remedy; what is well is not complained of."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.daemon import Site, site_at
from tests.support.unprivileged import as_nobody, his_folder

from freshet.cli.checkup.machine import limits
from freshet.cli.checkup.state import database

PLUGIN = "from freshet import asset\n\n\n@asset\ndef a() -> int:\n    return 1\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path / "site", plugins={"plugin.py": PLUGIN}) as made:
        yield made


def found(site: Site) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """The exit status, and findings by subject."""
    done = site.cli("doctor", "--json")
    answer: Any = json.loads(done.stdout)
    assert answer["ok"] == (done.returncode == 0)
    by_subject: dict[str, list[dict[str, str]]] = {}
    for one in answer["findings"]:
        assert bool(one["remedy"]) == (one["verdict"] != "ok"), one
        by_subject.setdefault(one["what"], []).append(one)
    return done.returncode, by_subject


def test_all_is_well(site: Site) -> None:
    """Before the first start, beside a daemon, and after it."""
    status, before = found(site)
    assert (status, before["daemon"][0]["said"]) == (0, "none runs")
    assert "the first start makes it" in before["state directory"][0]["said"]
    assert not site.state.exists(), "it only looks"
    daemon = site.start().ready()
    status, beside = found(site)
    assert status == 0
    assert beside["daemon"][0]["said"].startswith(f"process {daemon.pid}, ")
    assert {one["verdict"] for one in beside["database"]} == {"ok"}
    assert daemon.stop() == 0
    assert found(site)[0] == 0
    assert "ok       plugins: " in site.cli("doctor").stdout


def test_a_damaged_database_is_bad(site: Site) -> None:
    assert site.start().ready().stop() == 0
    with (site.state / "freshet.db").open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 4)
    status, findings = found(site)
    assert (status, findings["database"][0]["verdict"]) == (1, "bad")
    assert "freshet restore" in findings["database"][0]["remedy"]
    (site.state / "freshet.db").write_text("no database, but some text that is long enough for its header" * 9)
    assert found(site)[0] == 1


def test_a_broken_plugin_is_bad(site: Site) -> None:
    (site.plugins / "broken.py").write_text("raise RuntimeError('no')\n")
    status, findings = found(site)
    assert status == 1
    assert any("broken.py" in one["said"] and one["verdict"] == "bad" for one in findings["plugins"])


def test_a_wrong_configuration_is_bad(site: Site) -> None:
    site.config.write_text(site.config.read_text() + "[retention]\nticks = 'long'\n")
    status, findings = found(site)
    assert (status, findings["configuration"][0]["verdict"]) == (1, "bad")


def test_a_state_of_somebody_else_is_bad() -> None:
    """For who may not write there; root may, and so is told only of what would be in the daemon's way."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files to others")
    with his_folder() as folder, site_at(folder / "site", plugins={"plugin.py": PLUGIN}) as made:
        assert made.start().ready().stop() == 0
        argv = [sys.executable, "-m", "freshet", "doctor", "--json", "--config", str(made.config)]
        done = as_nobody(argv, env=made.environment, cwd=folder)
        answer: Any = json.loads(done.stdout)
        told = next(one for one in answer["findings"] if one["what"] == "state directory")
        assert (done.returncode, told["verdict"]) == (1, "bad")
        assert "belongs to root" in told["said"]
        os.chown(made.state, 65534, 65534)
        status, findings = found(made)
        assert status == 1
        assert any("belong to somebody else" in one["said"] for one in findings["state directory"])


def test_a_clock_that_was_set_back_is_bad(site: Site) -> None:
    """The last commit lies in the future."""
    assert site.start().ready().stop() == 0
    with closing(sqlite3.connect(site.state / "freshet.db")) as db:
        db.execute("INSERT INTO events (txn, at, type) VALUES (1, ?, 'definitions_loaded')", (time.time() + 1000,))
        db.commit()
    status, findings = found(site)
    assert (status, any("set back" in one["said"] for one in findings["clock"])) == (1, True)


def test_few_watches_are_a_warning(tmp_path: Path) -> None:
    """With the line of sysctl that raises them."""
    (tmp_path / "max_user_watches").write_text("8192\n")
    (tmp_path / "max_user_instances").write_text("1024\n")
    told = {one.said.split()[0]: one for one in limits(tmp_path) if one.what == "inotify"}
    assert told["fs.inotify.max_user_watches"].verdict == "warning"
    assert "fs.inotify.max_user_watches=262144" in told["fs.inotify.max_user_watches"].remedy
    assert told["max_user_instances"].verdict == "ok"


def test_an_old_database_is_told_how_to_shrink(tmp_path: Path, site: Site) -> None:
    site.state.mkdir()
    with closing(sqlite3.connect(site.state / "freshet.db")) as db:
        db.execute("CREATE TABLE early (x)")
        db.execute("DROP TABLE early")
        db.commit()
    assert site.start().ready().stop() == 0
    told = [one for one in database(site.state, time.time()) if one.verdict == "warning"]
    assert ["never becomes smaller" in one.said for one in told] == [True]
