"""A daemon that works for a while under all that happens to one: files, signed deliveries, steps and sensors that fail,
edits that are good and edits that are not. Its memory and its descriptors stay as they were; all is admitted once."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import processes
from tests.support.daemon import Daemon, Site, site_at
from tests.support.signers import SECRET, Sender, sign

SECONDS = float(os.environ.get("FRESHET_SOAK", "20"))
"""600 for `make soak`."""
_AT_ONCE = 5
"""Files, and deliveries, of each round."""
_SLACK, _GROWTH = 12 << 20, 60_000
"""Bytes that the daemon may grow by once it is warm, and for each reload besides: caches of the database, above all."""
_HOST_SLACK = 8 << 20

PLUGIN = """
from freshet import AutomationCondition, DynamicPartitions, Retries, asset, job, schedule, sensor
from freshet_sensors import FileSensor, WebhookSensor

NUMBER = 0
files = DynamicPartitions("files")
landing = FileSensor("landing", path="inbox", pattern="{file}.csv", partitions=files, target="raw", settle="0s")
hook = WebhookSensor("hook", path="hook", scheme="github", secret="env:HOOK_SECRET", target="note")

@asset(partitions=files, retries=Retries(2, delay="10ms"))
def raw(ctx) -> str:
    if int(ctx.partition.key) % 7 == 0 and ctx.attempt == 1:
        raise ValueError("it fails the first time")
    if int(ctx.partition.key) % 11 == 0:
        raise ValueError("it fails for good")
    with open(ctx.partition.metadata["path"]) as file:
        return file.read()

@asset(partitions=files, automation=AutomationCondition.eager())
def clean(raw: str) -> int:
    return len(raw) + NUMBER

@job(overlap="allow")
def note(id: str): ...

@sensor(interval="200ms")
async def shaky(ctx):
    ctx.cursor = (ctx.cursor or 0) + 1
    if ctx.now.microsecond % 3 == 0:
        raise ValueError("no luck")

@schedule(every="1s", target="note", params={"id": "tick"})
def often(): ...
"""
BROKEN = ("def one(:\n", "raise RuntimeError('no')\n", "from freshet import asset\n\n@asset\ndef b(nobody): ...\n")


@dataclass
class Load:
    """What was given to a daemon so far."""

    site: Site
    daemon: Daemon
    sender: Sender
    files: int = 0
    sent: list[str] = field(default_factory=list[str])
    reloads: int = 0
    descriptors: int = 0

    def round(self) -> None:
        """Some of everything; returns when most of it has ended."""
        for _ in range(_AT_ONCE):
            self._file()
            self._delivery()
        self._forged()
        self.edit()
        self.daemon.wait_until(lambda: self.daemon.client.status().queued < 10 * _AT_ONCE, "it keeps up", within=300)

    def _file(self) -> None:
        part = self.site.inbox / f"{self.files}.csv.part"
        part.write_text(f"number {self.files}\n")
        part.rename(self.site.inbox / f"{self.files}.csv")
        self.files += 1

    def _delivery(self) -> None:
        name = f"d-{len(self.sent)}"
        signed = sign("github", f'{{"id": "{name}"}}'.encode(), id=name)
        assert self.sender.send("hook", signed).status_code == 202
        if len(self.sent) % 3 == 0:
            assert self.sender.send("hook", signed).status_code == 200, "the same again is known"
        self.sent.append(name)

    def _forged(self) -> None:
        signed = sign("github", b'{"id": "forged"}', id="forged", secret="another secret of some length")
        assert self.sender.send("hook", signed).status_code == 401

    def edit(self) -> None:
        """Now and then one that is refused; then one that comes into force."""
        if self.reloads % 4 == 3:
            broken = self.site.plugins / "b.py"
            broken.write_text(BROKEN[self.reloads // 4 % len(BROKEN)])
            self.daemon.wait_until(lambda: self.daemon.client.status().load_problems, "an edit is refused", within=300)
            broken.unlink()
            self.daemon.wait_until(lambda: not self.daemon.client.status().load_problems, "all is well", within=300)
        before = self.daemon.client.status().definitions_version
        self.reloads += 1
        (self.site.plugins / "a.py").write_text(PLUGIN.replace("NUMBER = 0", f"NUMBER = {self.reloads}"))
        self.daemon.wait_until(lambda: self.daemon.client.status().definitions_version != before, "others", within=300)

    def rest(self) -> tuple[int, int]:
        """When all that it was given has ended: the memory of the daemon, and of its host."""
        self.daemon.wait_until(self._done, "all is done", within=300)
        self.daemon.wait_until(lambda: len(processes.children(self.daemon.pid)) == 1, "one host", within=300)
        (host,) = processes.children(self.daemon.pid)
        return _resident(self.daemon.pid), _resident(host)

    def _done(self) -> bool:
        status = self.daemon.client.status()
        if status.queued or status.running or self.daemon.client.sensor("hook").lag:
            return False
        return len(self.daemon.runs("raw")) >= self.files


def _resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def _descriptors(pid: int) -> int:
    return len([*Path(f"/proc/{pid}/fd").iterdir()])


def _url(daemon: Daemon) -> str:
    found = re.search(r"http=(\S+)", daemon.log_text())
    assert found is not None
    return found[1]


def test_a_daemon_that_works_stays_as_it_was_and_admits_everything_once(tmp_path: Path) -> None:
    with site_at(tmp_path, plugins={"a.py": PLUGIN}, env={"HOOK_SECRET": SECRET}) as site:
        daemon = site.start().ready()
        load = Load(site, daemon, Sender(_url(daemon)))
        began = time.monotonic()
        while load.reloads < 4 or time.monotonic() < began + SECONDS / 4:
            load.round()
        memory, host = load.rest()
        descriptors, warm = _descriptors(daemon.pid), load.reloads
        while load.reloads < 2 * warm or time.monotonic() < began + SECONDS:
            load.round()
        memory_after, host_after = load.rest()
        reloads = load.reloads - warm
        print(  # noqa: T201  # shown on failure
            f"{reloads} reloads, {load.files} files, {len(load.sent)} deliveries: daemon {memory >> 20} MiB, then "
            f"{memory_after >> 20}; host {host >> 20}, then {host_after >> 20}"
        )
        _admitted_once(load)
        assert memory_after - memory < _SLACK + _GROWTH * reloads
        assert host_after - host < _HOST_SLACK
        daemon.wait_until(lambda: _descriptors(daemon.pid) <= descriptors + 4, "descriptors are given back", within=300)
        load.sender.close()
        assert daemon.stop() == 0
        assert "an error that no loop" not in site.log_text()


def _admitted_once(load: Load) -> None:
    raw = Counter(run.partition for run in load.daemon.runs("raw"))
    assert raw == Counter(str(number) for number in range(load.files))
    noted = Counter(str(run.params["id"]) for run in load.daemon.runs("note"))
    del noted["tick"]
    assert noted == Counter(load.sent)
    failed = {run.partition for run in load.daemon.runs("raw") if run.state == "failed"}
    assert failed == {str(number) for number in range(load.files) if number % 11 == 0}
