"""What holds an event loop is named: a sensor that of its evaluator, or whatever it is the daemon's own."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from typing import Any

from tests.support.daemon import IMPORT_TESTS, Daemon, Site

BLOCKING = """
import time
from freshet import RunRequest, asset, sensor

@asset
def fed() -> int:
    return 1

@sensor(interval="100ms", timeout="500ms", target="fed")
async def blocker(ctx):
    ctx.cursor = "looked"
    yield RunRequest(run_key="one")
    if BLOCKS:
        time.sleep(3600)

@sensor(interval="100ms")
async def bystander(ctx):
    ctx.cursor = (ctx.cursor or 0) + 1
"""
STANDS = BLOCKING.replace("BLOCKS", "True")


def _quarantined(daemon: Daemon) -> Any:
    return daemon.wait_until(
        lambda: found if (found := daemon.client.sensor("blocker")).status == "quarantined" else None, "its quarantine"
    )


def _told(site: Site) -> int:
    return sum("sensor quarantined" in line for line in site.log_text().splitlines())


def test_a_sensor_that_blocks_again_and_again_is_quarantined_until_its_code_is_edited(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(STANDS)
    daemon = site.start().ready()
    found = _quarantined(daemon)
    assert found.isolated and found.strikes == 3
    assert "cost its evaluator 3 times in a row" in found.quarantined
    assert "plugin.py" in found.last_error["traceback"] and "in blocker" in found.last_error["traceback"]
    blocked = [one for one in found.offences if one.kind == "blocked"]
    assert [one.moved for one in blocked] == [False, False, True], "newest first"
    assert all(one.seconds >= 0.1 and "in blocker" in one.stack for one in blocked)
    shown = site.cli("sensors", "blocker")
    assert "quarantined" in shown.stdout and "plugin.py" in shown.stdout and "in blocker" in shown.stdout
    assert "freshet resume blocker" in shown.stdout and "cost its evaluator" in site.cli("why", "fed").stdout
    assert _told(site) == 1
    assert daemon.stop() == 0
    daemon = site.start().ready()
    again = _quarantined(daemon)
    assert again.offences == found.offences and _told(site) == 1
    cursor = daemon.client.cursor("bystander").cursor
    (site.plugins / "plugin.py").write_text(BLOCKING.replace("BLOCKS", "False"))
    daemon.wait_until(lambda: daemon.client.sensor("blocker").status == "ok", "it goes on")
    daemon.wait_until(lambda: daemon.runs("fed"), "its run")
    daemon.wait_until(lambda: daemon.client.cursor("bystander").cursor > cursor, "the bystander looks on")
    assert daemon.client.sensor("blocker").offences == found.offences, "its history stays"
    assert "edited, and is quarantined no more" in site.log_text()


def test_an_edit_of_another_file_leaves_the_quarantine_and_resume_ends_it(make_site: Callable[..., Site]) -> None:
    site = make_site(STANDS)
    daemon = site.start().ready()
    first = _quarantined(daemon)
    version = daemon.client.status().definitions_version
    (site.plugins / "other.py").write_text("from freshet import asset\n\n@asset\ndef other() -> int:\n    return 1\n")
    daemon.wait_until(lambda: daemon.client.status().definitions_version != version, "the other file")
    assert daemon.client.sensor("blocker").status == "quarantined"
    done = site.cli("resume", "blocker")
    assert done.returncode == 0, done.stderr
    assert daemon.client.sensor("blocker").strikes < 3
    daemon.wait_until(lambda: len(daemon.client.sensor("blocker").offences) > len(first.offences), "it blocks again")
    _quarantined(daemon)


def test_what_holds_the_daemons_own_loop_is_shown(make_site: Callable[..., Site]) -> None:
    site = make_site(BLOCKING.replace("BLOCKS", "False"))
    daemon = site.start(("-m", "tests.e2e.holding", "run"), env=IMPORT_TESTS).ready()
    loop = daemon.wait_until(lambda: found if (found := daemon.client.status().loop).held >= 2 else None, "two holds")
    assert loop.worst >= 0.1 and loop.last is not None and loop.last_at is not None
    assert loop.seconds >= loop.worst >= loop.last
    assert any("hold_the_loop" in line for line in loop.stack)
    assert "hold_the_loop" in site.cli("status").stdout
    (line,) = [one for one in site.log_text().splitlines() if "http=http" in one]
    url = line.split("http=")[1].split()[0]
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        figures = dict(one.rsplit(" ", 1) for one in answer.read().decode().splitlines() if not one.startswith("#"))
    assert float(figures["freshet_loop_held_total"]) >= 2
    assert float(figures["freshet_loop_held_worst_seconds"]) >= 0.1
    assert figures["freshet_ready"] == "1" and figures['freshet_sensors{status="ok"}'] == "2"
