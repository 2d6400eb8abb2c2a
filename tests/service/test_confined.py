"""The daemon and its steps live within what the unit leaves them: the kernel refuses the rest, as under systemd."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.service.confined import missing
from tests.support.daemon import IMPORT_TESTS, site_at

UNIT = Path(__file__).resolve().parents[2] / "config" / "freshet.service"

PLUGIN = """
import ctypes
import errno
import json
import os
import socket
from pathlib import Path

import numpy
from freshet import Command, DynamicPartitions, Process, asset, job
from freshet_sensors import FileSensor

batches = DynamicPartitions("batches")
FileSensor("landing", path="inbox", pattern="{name}.txt", partitions=batches, target="seen", settle="0s")


@asset(partitions=batches)
def seen(ctx) -> float:
    return float(numpy.linalg.inv(numpy.eye(200) * 2).sum())


@job(memory="1GiB", timeout="5m")
def fresh(): ...


@job(executor=Process(reuse=True))
def kept(): ...


@job(executor="inline")
async def inline(): ...


@job(executor="detached")
def detached(): ...


@job(executor=Command(["sh", "-c", "nice -n 5 echo done"]))
def command(): ...


@job
def mapped(ctx):
    assert ctx.map(twice, [1, 2, 3]) == [2, 4, 6]


def twice(number):
    return 2 * number


@job
def refused(ctx):
    libc = ctypes.CDLL(None, use_errno=True)
    status = Path("/proc/self/status").read_text()
    told = {"rights": next(line.split() for line in status.splitlines() if line.startswith("CapEff"))}
    assert libc.unshare(0x00020000) == -1
    told["unshare"] = errno.errorcode[ctypes.get_errno()]
    try:
        os.chown("inbox", os.getuid(), os.getgid())
    except OSError as error:
        told["chown"] = errno.errorcode[error.errno]
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
    except OSError as error:
        told["netlink"] = errno.errorcode[error.errno]
    ctx.metadata(**told)
    Path("told").write_text(json.dumps(told))
"""


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_every_way_to_run_works_within_the_bounds_of_the_unit(tmp_path: Path) -> None:
    with site_at(tmp_path / "site", plugins={"plugin.py": PLUGIN}, env=IMPORT_TESTS) as site:
        daemon = site.start(("-m", "tests.service.confined", str(UNIT), sys.executable, "-m", "freshet", "run")).ready()
        for job in ("fresh", "kept", "inline", "detached", "command", "mapped", "refused"):
            done = site.cli("call", job, "--wait", within=120)
            assert done.returncode == 0, f"{job}: {done.stdout}{done.stderr}"
        told = json.loads((site.folder / "told").read_text())
        assert told.pop("rights") == ["CapEff:", "0000000000000000"]
        assert told == {"unshare": "EPERM", "chown": "EPERM", "netlink": "EAFNOSUPPORT"}, "the bounds are there"
        (site.inbox / "a.txt.part").write_text("x")
        (site.inbox / "a.txt.part").rename(site.inbox / "a.txt")
        daemon.wait_until(
            lambda: [run.state for run in daemon.runs("seen")] == ["succeeded"], "a file that lands is worked on"
        )
        assert daemon.stop() == 0
