"""The settings are read again: what can change while the daemon runs does, and the rest is named."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.daemon import Daemon, Site, site_at

from freshet.http.models import MaterializeBody

PLUGIN = """
import time
from pathlib import Path
from freshet import Pool, asset

@asset(pool=Pool("db"), overlap="allow")
def slow() -> None:
    while not Path("go").exists():
        time.sleep(0.02)
"""
OTHER = """
from freshet import Pool, asset

@asset(pool=Pool("web"))
def other() -> None: ...
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path, plugins={"a.py": PLUGIN}, workers=4) as made:
        configure(made, "[pools]\ndb = 1\n[limits]\nruns = 8\n")
        yield made
        (made.folder / "go").write_text("")


def configure(site: Site, more: str, **changes: str) -> None:
    """The settings that a site has, with these."""
    text = site.config.read_text().partition("# more\n")[0]
    for old, new in changes.items():
        text = text.replace(old, new)
    site.config.write_text(f"{text}# more\n{more}")


def running(daemon: Daemon) -> int:
    return len(daemon.client.runs(state="started"))


def test_slots_of_pools_change_while_steps_wait(site: Site) -> None:
    daemon = site.start().ready()
    for _ in range(4):
        daemon.client.materialize(MaterializeBody(assets=("slow",)))
    daemon.wait_until(lambda: running(daemon) == 1, "one goes")
    configure(site, "[pools]\ndb = 3\n[limits]\nruns = 2\n")
    done = site.cli_json("reload")
    assert done["settings_changed"] == ["limits.runs", "pools.db.slots"]
    assert done["settings_waiting"] == [] and done["settings_problem"] is None
    daemon.wait_until(lambda: running(daemon) == 2, "as many as the limit of runs lets go")
    configure(site, "[pools]\ndb = 3\n[limits]\nruns = 8\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_until(lambda: running(daemon) == 3, "as many as there are slots")
    configure(site, '[limits]\nruns = 8\n[pools.db]\nslots = 4\nrate = "100/s"\n')
    assert "pools.db.rate" in site.cli_json("reload")["settings_changed"]
    daemon.wait_until(lambda: running(daemon) == 4, "all")
    (site.folder / "go").write_text("")
    daemon.wait_until(daemon.idle, "all have ended")
    assert daemon.stop() == 0


def test_a_new_pool_comes_with_the_plugin_that_takes_it(site: Site) -> None:
    daemon = site.start().ready()
    (site.plugins / "b.py").write_text(OTHER)
    daemon.wait_until(lambda: daemon.client.status().load_problems, "there is no such pool")
    configure(site, "[pools]\ndb = 1\nweb = 1\n[limits]\nruns = 8\n")
    assert site.cli_json("reload")["outcome"] == "changed"
    assert site.cli("materialize", "other", "--wait").returncode == 0
    configure(site, "[pools]\ndb = 1\n[limits]\nruns = 8\n")
    refused = site.cli("reload")
    assert refused.returncode == 1
    assert "no pool 'web'" in refused.stderr
    assert {one.name for one in daemon.client.pools()} == {"db", "web"}
    (site.plugins / "b.py").unlink()
    daemon.wait_until(lambda: daemon.client.status().assets == 1, "it is gone")
    assert site.cli("reload").returncode == 0
    assert {one.name for one in daemon.client.pools()} == {"db"}


def test_what_wants_a_restart_is_named_and_a_broken_file_keeps_the_old_settings(site: Site) -> None:
    daemon = site.start().ready()
    good = site.config.read_text()
    site.config.write_text(good.replace("workers = 4", "workers = 3").replace('level = "debug"', 'level = "warning"'))
    done = site.cli_json("reload")
    assert (done["settings_changed"], done["settings_waiting"]) == (["log.level"], ["process.workers"])
    log = len(daemon.log_text())
    assert site.cli("reload").returncode == 0
    assert "asked to reload" not in daemon.log_text()[log:]
    daemon.signal(signal.SIGHUP)
    site.config.write_text(good.replace("[limits]", "[limit"))
    problem = daemon.client.reload().settings_problem
    assert problem is not None and "not TOML" in problem.message
    assert "the settings cannot be read again" in daemon.log_text()
    site.config.write_text(good + "no_such = 1\n")
    broken = site.cli("reload")
    assert broken.returncode == 1
    assert "no_such" in broken.stderr and "the settings of before stay" in broken.stderr
    site.config.write_text(good)
    assert site.cli_json("reload")["settings_changed"] == ["log.level"]
    daemon.signal(signal.SIGHUP)
    daemon.wait_until(lambda: "asked to reload" in daemon.log_text()[log:], "it is said again")
    assert daemon.stop() == 0
