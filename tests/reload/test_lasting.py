"""What lasts through many reloads: deliveries, and the memory and the descriptors of the daemon."""

from __future__ import annotations

import os
import re
import threading
import urllib.request
from pathlib import Path

from tests.support import processes
from tests.support.daemon import Daemon, site_at

RELOADS = int(os.environ.get("FRESHET_RELOADS", "25"))
"""500 for `make reloads`."""
_SETTLED = 5
"""Reloads after which what is loaded once is loaded."""
_GROWTH = 40_000
"""Bytes a reload: a bound for what is not Python's own, such as the caches of the database. That no object is kept is
asked in `test_swap`."""
_SLACK = 6 << 20

PLUGIN = """
from freshet import asset, job, schedule, sensor
from freshet_sensors import WebhookSensor

NUMBER = 0

@job
def note(id: str = ""): ...

WebhookSensor("hook", path="hook", scheme="none", id_from="json:/id", interval="10m", target=note)

@sensor(interval="100ms")
async def counting(ctx):
    ctx.cursor = (ctx.cursor or 0) + 1

@schedule(every="1s", target="made")
def often(): ...

@asset
def made() -> int:
    return NUMBER
"""


def _url(daemon: Daemon) -> str:
    found = re.search(r"http=(\S+)", daemon.log_text())
    assert found is not None
    return found[1]


def _version(daemon: Daemon) -> str:
    return daemon.client.status().definitions_version


def _resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def _descriptors(pid: int) -> int:
    return len([*Path(f"/proc/{pid}/fd").iterdir()])


def _reload(daemon: Daemon, plugin: Path, number: int) -> None:
    before = _version(daemon)
    plugin.write_text(PLUGIN.replace("NUMBER = 0", f"NUMBER = {number}"))
    daemon.wait_until(lambda: _version(daemon) != before, f"reload {number}")


def test_no_delivery_is_lost_while_plugins_are_reloaded(tmp_path: Path) -> None:
    with site_at(tmp_path, plugins={"a.py": PLUGIN}) as site:
        daemon = site.start().ready()
        url, over, answers = f"{_url(daemon)}/hooks/hook", threading.Event(), list[int]()

        def send() -> None:
            while not over.is_set():
                body = f'{{"id": "{len(answers)}"}}'.encode()
                asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(asked, timeout=60) as answer:
                    answers.append(answer.status)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            for number in range(1, 6):
                _reload(daemon, site.plugins / "a.py", number)
        finally:
            over.set()
            sender.join()
        assert set(answers) == {202}
        daemon.wait_until(lambda: len(daemon.runs("note")) >= len(answers), "each has its run", within=120)
        assert len(daemon.runs("note")) == len(answers)
        assert daemon.stop() == 0


def test_memory_and_descriptors_are_steady_over_reloads(tmp_path: Path) -> None:
    with site_at(tmp_path, plugins={"a.py": PLUGIN}) as site:
        daemon = site.start().ready()
        for number in range(1, _SETTLED + 1):
            _reload(daemon, site.plugins / "a.py", number)
        daemon.wait_until(lambda: len(processes.children(daemon.pid)) == 1, "one host", within=120)
        before, descriptors = _resident(daemon.pid), _descriptors(daemon.pid)
        for number in range(_SETTLED + 1, _SETTLED + RELOADS + 1):
            _reload(daemon, site.plugins / "a.py", number)
        daemon.wait_until(lambda: len(processes.children(daemon.pid)) == 1, "one host is left", within=120)
        grown = _resident(daemon.pid) - before
        print(f"{RELOADS} reloads: {grown / RELOADS:.0f} bytes each")  # noqa: T201  # shown on failure
        assert grown < _SLACK + _GROWTH * RELOADS
        daemon.wait_until(lambda: _descriptors(daemon.pid) <= descriptors + 4, "descriptors are given back")
        assert daemon.stop() == 0
