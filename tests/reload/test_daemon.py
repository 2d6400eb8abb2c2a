"""A real daemon whose plugins are edited while it runs."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support import processes
from tests.support.daemon import Daemon, Site, site_at, wait_until

from freshet.http.models import MaterializeBody, StatusAnswer

ONE = """
import time
from freshet import asset

@asset
def one() -> int:
    return VALUE
"""
SLOW = """
import time
from pathlib import Path
from freshet import asset

@asset(overlap="allow")
def slow(ctx) -> int:
    Path("begun").write_text("")
    while not Path("go").exists():
        time.sleep(0.01)
    print("its value is", VALUE)
    return VALUE
"""
APART = """
from freshet import asset

@asset(executor="detached")
def far() -> None:
    print("its value is VALUE")
"""
BROKEN = {
    "a syntax error": ("def one(:\n", "syntax error"),
    "an exception": ("raise RuntimeError('no')\n", "RuntimeError: no"),
    "an exit": ("import sys\nsys.exit(3)\n", "sys.exit(3)"),
    "an end of the process": ("import os\nos._exit(3)\n", "exit status 3"),
    "two of one name": (ONE.replace("VALUE", "2") + "\n\n@asset(name='one')\ndef two() -> int:\n    return 1\n", "one"),
    "a dependency that is not there": ("from freshet import asset\n\n@asset\ndef b(nobody): ...\n", "nobody"),
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path, plugins={"a.py": ONE.replace("VALUE", "1")}) as made:
        yield made


def _version(daemon: Daemon) -> str:
    return daemon.client.status().definitions_version


def _edited(daemon: Daemon, file: Path, text: str) -> None:
    """Write a file, and wait until other definitions are in force."""
    before = _version(daemon)
    file.write_text(text)
    daemon.wait_until(lambda: _version(daemon) != before, "other definitions")


def _assets(daemon: Daemon) -> int:
    return daemon.client.status().assets


def _readyz(site: Site) -> Any:
    (line,) = [one for one in site.log_text().splitlines() if "http=http" in one][-1:]
    url = line.split("http=")[1].split()[0]
    with urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer:
        return json.load(answer)


def test_a_broken_edit_leaves_the_last_good_definitions_in_force_and_is_told_everywhere(site: Site) -> None:
    daemon = site.start().ready()
    good = _version(daemon)
    for name, (text, said) in BROKEN.items():
        (site.plugins / "a.py").write_text(text)

        def refused(said: str = said) -> StatusAnswer | None:
            status = daemon.client.status()
            return status if any(said in one.message for one in status.load_problems) else None

        assert daemon.wait_until(refused, name).definitions_version == good
        assert said in daemon.log_text()
        ready = _readyz(site)
        assert ready["ready"] and said in ready["plugins"], name
        shown = site.cli("plugins")
        assert shown.returncode == 1
        assert ("quarantined" if "process" in name else "failed") in shown.stdout, shown.stdout
        assert said in shown.stderr
    assert site.cli("materialize", "one", "--wait").returncode == 0
    (site.plugins / "a.py").write_text(ONE.replace("VALUE", "1"))
    daemon.wait_until(lambda: not daemon.client.status().load_problems, "all is well")
    assert _version(daemon) == good
    assert _readyz(site)["plugins"] == "in force"
    assert site.cli("plugins").returncode == 0


def test_a_plugin_that_hangs_is_given_up_as_soon_as_it_is_mended(site: Site) -> None:
    daemon = site.start().ready()
    (site.plugins / "b.py").write_text("import time\nprint('it hangs', flush=True)\ntime.sleep(3600)\n")
    daemon.wait_until(lambda: "it hangs" in daemon.log_text(), "it hangs")
    assert site.cli("materialize", "one", "--wait").returncode == 0
    _edited(daemon, site.plugins / "b.py", ONE.replace("one", "two").replace("VALUE", "2"))
    assert _assets(daemon) == 2


def test_files_that_come_go_and_are_renamed(site: Site) -> None:
    daemon = site.start().ready()
    _edited(daemon, site.plugins / "b.py", ONE.replace("one", "two").replace("VALUE", "2"))
    states = {Path(one.file).name: one.state for one in daemon.client.plugins()}
    assert states == {"a.py": "unchanged", "b.py": "loaded"}
    version = _version(daemon)
    for name in (".b.py.swp", "b.py~", "#b.py#", "4913", ".#b.py"):
        (site.plugins / name).write_text("this is no plugin (")
    (site.plugins / "package").mkdir()
    (site.plugins / "package" / "__init__.py").write_text(ONE.replace("one", "three").replace("VALUE", "3"))
    daemon.wait_until(lambda: _assets(daemon) == 3, "a package")
    assert _version(daemon) != version
    (site.plugins / "b.py").rename(site.plugins / "c.py")
    daemon.wait_until(lambda: any(one.file.endswith("c.py") for one in daemon.client.plugins()), "renamed")
    assert _assets(daemon) == 3
    (site.plugins / "c.py").unlink()
    daemon.wait_until(lambda: _assets(daemon) == 2, "deleted")
    assert not daemon.client.status().load_problems


def test_a_hundred_edits_in_a_row_end_at_the_last(site: Site) -> None:
    daemon = site.start().ready()
    for number in range(100):
        text = ONE.replace("VALUE", str(number))
        (site.plugins / "a.py").write_text(text if number % 3 else "def one(:")
    (site.plugins / "new.tmp").write_text(
        ONE.replace("VALUE", "100") + "\n\n@asset\ndef last() -> int:\n    return 1\n"
    )
    (site.plugins / "new.tmp").rename(site.plugins / "a.py")
    daemon.wait_until(lambda: _assets(daemon) == 2, "the last of all edits")
    assert not daemon.client.status().load_problems


def test_a_step_under_way_ends_with_the_code_it_began_with(tmp_path: Path) -> None:
    with site_at(tmp_path, plugins={"a.py": SLOW.replace("VALUE", "1")}) as site:
        daemon = site.start().ready()
        (old,) = daemon.client.materialize(MaterializeBody(assets=("slow",))).runs
        wait_until((tmp_path / "begun").exists, "it has begun")
        (tmp_path / "begun").unlink()
        for value in "23":
            _edited(daemon, site.plugins / "a.py", SLOW.replace("VALUE", value))
        (new,) = daemon.client.materialize(MaterializeBody(assets=("slow",))).runs
        wait_until((tmp_path / "begun").exists, "the other has begun")
        (tmp_path / "go").write_text("")
        for run, ending in ((old, 1), (new, 3)):
            daemon.wait_until(partial(_succeeded, daemon, run), "it ends")
            assert f"its value is {ending}\n" in site.cli("logs", str(run)).stdout
        daemon.wait_until(lambda: len(_hosts(daemon)) == 1, "only the host in force is left", within=60)
        assert daemon.stop() == 0


def _succeeded(daemon: Daemon, run: int) -> bool:
    return daemon.client.run(run).state == "succeeded"


def _hosts(daemon: Daemon) -> list[int]:
    return [pid for pid in processes.children(daemon.pid) if "freshet.host" in processes.command_line(pid)]


def test_sighup_and_the_command_load_what_there_is(site: Site) -> None:
    daemon = site.start().ready()
    done = site.cli_json("reload")
    assert done["outcome"] == "unchanged"
    (site.plugins / "a.py").write_text("def one(:")
    assert site.cli("reload").returncode == 1
    daemon.signal(signal.SIGHUP)
    (site.plugins / "a.py").write_text(ONE.replace("VALUE", "2"))
    daemon.signal(signal.SIGHUP)
    daemon.wait_until(lambda: not daemon.client.status().load_problems, "mended")
    assert daemon.stop() == 0


def test_a_detached_step_runs_the_code_that_is_in_force(tmp_path: Path) -> None:
    with site_at(tmp_path, plugins={"a.py": APART.replace("VALUE", "1")}) as site:
        daemon = site.start().ready()
        for value in "123":
            if value != "1":
                _edited(daemon, site.plugins / "a.py", APART.replace("VALUE", value))
            (run,) = daemon.client.materialize(MaterializeBody(assets=("far",))).runs
            daemon.wait_until(partial(_succeeded, daemon, run), "it ends")
            assert f"its value is {value}\n" in site.cli("logs", str(run)).stdout
