"""Sensors that harm only themselves."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.daemon import Daemon, Site

from freshet.http.models import SensorAnswer

PLUGIN = """
import asyncio
import time
from itertools import pairwise
from pathlib import Path

from freshet import DynamicPartitions, asset, sensor
from freshet_sensors import FileSensor

batches = DynamicPartitions("batches")
landing = FileSensor("landing", path="inbox", pattern="{name}.txt", partitions=batches, target="seen", settle="0s")


@asset(partitions=batches)
def seen(ctx) -> float:
    began = time.time()
    Path("seen", ctx.partition.key).write_text(str(began))
    return began


@sensor(interval="100ms", timeout="1s")
def bad(ctx):
    if Path("turned").exists():
        BAD
"""
BAD = {
    "blocks its loop": "time.sleep(3600)",
    "blocks in a thread": "time.sleep(3600)",
    "never returns": "await asyncio.Event().wait()",
    "spins": "while True: pass",
    "ends its process": "import os; os._exit(7)",
}
ALONE, FILES = 30, 100
P99 = 0.5
SLOWER = 5
"""Times as long as on the same machine before: where that is more than `P99`, the machine is slow."""
MakeSite = Callable[..., Site]


@pytest.mark.parametrize("how", BAD)
def test_a_sensor_that_hangs_harms_only_itself(make_site: MakeSite, how: str) -> None:
    """While one hangs at every look, files are seen as fast as ever; it shows as failing, with what it was at."""
    site = make_site(turning(BAD[how], is_async=how != "blocks in a thread"))
    daemon = site.start().ready()
    check_pace(site, daemon)
    wanted = {"never returns": "timeout", "ends its process": "7"}.get(how, "plugin.py")
    daemon.wait_until(lambda: failing(daemon).failures >= 2, "it failed in an evaluator of its own too")
    daemon.wait_until(lambda: wanted in json.dumps(failing(daemon).last_error), f"the error holds {wanted}")
    assert daemon.client.sensor("landing").failures == 0
    assert daemon.stop() == 0


def test_a_sensor_that_raises_each_time_backs_off(make_site: MakeSite) -> None:
    """Its traceback is on show and logged once, each pause is twice the last (from 1 s, less a quarter); files are
    seen as fast as ever."""
    site = make_site(turning("raise RuntimeError('no such luck')"))
    daemon = site.start().ready()
    check_pace(site, daemon)
    daemon.wait_until(lambda: failing(daemon).failures >= 3, "it has failed three times")
    bad = failing(daemon)
    assert "no such luck" in json.dumps(bad.last_error)
    assert "plugin.py" in json.dumps(bad.last_error)
    assert "no such luck" in site.cli("sensors", "bad").stdout
    assert site.log_text().count("sensor failing") == 1
    rows = daemon.client.history("bad", limit=50)
    pauses = [new.started_at - old.ended_at for new, old in pairwise(rows)]
    assert all(pause > 0.7 * 2**n for n, pause in enumerate(pauses[::-1])), pauses
    assert daemon.stop() == 0


def turning(bad: str, *, is_async: bool = True) -> str:
    """A plugin whose sensor turns bad."""
    return PLUGIN.replace("def bad", "async def bad" if is_async else "def bad").replace("BAD", bad)


def check_pace(site: Site, daemon: Daemon) -> None:
    """Files are seen as fast when the sensor has turned bad as before, however fast this machine is."""
    (site.folder / "seen").mkdir()
    alone = sorted(landed(site, daemon, f"alone-{n:03}") for n in range(ALONE))
    (site.folder / "turned").touch()
    delays = sorted(landed(site, daemon, f"{n:03}") for n in range(FILES))
    assert delays[int(FILES * 0.99) - 1] < max(P99, SLOWER * alone[int(ALONE * 0.9)]), (alone[-5:], delays[-5:])


def landed(site: Site, daemon: Daemon, key: str) -> float:
    """Rename a file into place; seconds until the first line of its asset's function."""
    aside = site.folder / "aside"
    aside.write_text(key)
    began = time.time()
    os.rename(aside, site.inbox / f"{key}.txt")  # noqa: PTH104
    seen = site.folder / "seen" / key
    return daemon.wait_until(lambda: _number(seen), f"{key} is seen") - began


def _number(path: Path) -> float:
    text = path.read_text() if path.exists() else ""
    return float(text) if text else 0.0


def failing(daemon: Daemon) -> SensorAnswer:
    """The sensor, as soon as it shows as failing."""
    daemon.wait_until(lambda: daemon.client.sensor("bad").status == "failing", "it shows as failing")
    assert "bad" in daemon.client.status().troubled
    return daemon.client.sensor("bad")


def test_an_error_of_ones_own_is_told_with_its_place(make_site: MakeSite) -> None:
    plugin = """
import json
import time
from freshet import sensor

@sensor(interval="1h")
def misspelt(ctx):
    yield Runrequest()

@sensor(interval="1h")
async def library(ctx):
    json.loads("{")

@sensor(interval="1h")
async def blocks(ctx):
    time.sleep(3600)
"""
    site = make_site(plugin)
    daemon = site.start().ready()
    mine = site.folder / "plugins" / "plugin.py"

    def told() -> str:
        shown = site.cli("sensors").stdout
        return shown if shown.count("\n") >= 6 and "blocks: " in shown and "library: " in shown else ""

    shown = daemon.wait_until(told, "all fail")
    assert f"misspelt: {mine}:8: NameError: name 'Runrequest' is not defined" in shown
    assert f"library: {mine}:12: JSONDecodeError: " in shown
    assert f"blocks: {mine}:16: TimeoutError: blocked the evaluator's loop" in shown
    log = daemon.log_text()
    for name, line in (("misspelt", 8), ("library", 12), ("blocks", 16)):
        assert any(f"{mine}:{line}" in one and f"sensor={name}" in one for one in log.splitlines()), name
