"""300 files land while the daemon, its host and its evaluator are killed at random moments.

`FRESHET_CRASH_KILLS`: how many kills; `FRESHET_CRASH_SEED`: of the moments and victims.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from tests.crash.invariants import check
from tests.crash.scenario import River
from tests.support import processes
from tests.support.daemon import Daemon, DaemonEnded
from tests.support.river import beat

from freshet.errors import DaemonUnreachable

FILES = 300
_IN_CI = 15


@pytest.mark.parametrize(
    "kills", [_IN_CI, pytest.param(int(os.environ.get("FRESHET_CRASH_KILLS", "200")), marks=pytest.mark.slow)]
)
def test_killed_at_random_moments(river: River, kills: int) -> None:
    """Whatever is killed: every file is admitted once, each run ends, and `sales` adds up."""
    rng = random.Random(os.environ.get("FRESHET_CRASH_SEED", "1"))
    killer = Killer(river, rng)
    with files_landing(river, seed=rng.random(), seconds=0.6 * kills):
        for _ in range(kills):
            killer.strike()
    daemon = killer.settle()
    river.wait_at_rest(daemon, within=120)
    assert daemon.stop() == 0
    check(river.site.folder, river.keys)
    print(f"killed: {dict(killer.killed)}")  # noqa: T201  # shown with -s and on failure


class Killer:
    """Keeps a daemon alive as systemd would, and kills it or its processes."""

    def __init__(self, river: River, rng: random.Random) -> None:
        self.daemon = river.site.start()
        self.killed: Counter[str] = Counter()
        self._river = river
        self._rng = rng

    def strike(self) -> None:
        """One kill, at a moment of its own."""
        victim = self._rng.choice(("daemon", "host", "evaluator"))
        if victim != "daemon":
            self.settle()
        time.sleep(self._rng.uniform(0.0, 1.0))  # the moment is what is drawn at random: nothing is waited for
        self.revive()
        pid = self._find(victim)
        if pid is None:
            victim, pid = "daemon", self.daemon.pid
        self.killed[victim] += 1
        processes.kill([pid])
        if victim == "daemon":
            self.daemon.wait_ended(within=5)
        self.revive()

    def revive(self) -> Daemon:
        """The daemon, started anew if it has ended: killed, or as its host was killed before it had loaded."""
        status = self.daemon.process.poll()
        if status is not None:
            if status != -9:
                text = self.daemon.log_text()[-4000:]
                assert status == 1 and re.search("error: the code host (has )?ended", text), f"{status}\n{text}"
            self.daemon = self._river.site.start()
        return self.daemon

    def settle(self) -> Daemon:
        """A daemon that is ready: the last kill may have taken one along."""
        with contextlib.suppress(DaemonEnded):
            return self.daemon.ready()
        return self.revive().ready()

    def _find(self, victim: str) -> int | None:
        hosts = [pid for pid in processes.children(self.daemon.pid) if "freshet.host" in processes.command_line(pid)]
        if victim == "host":
            return self._rng.choice(hosts) if hosts else None
        if victim == "evaluator":
            return self._evaluator() if hosts else None
        return self.daemon.pid

    def _evaluator(self) -> int | None:
        try:
            status = self.daemon.client.status()
        except DaemonUnreachable:
            return None
        known = [] if status.host is None else list(status.host.evaluators.values())
        return self._rng.choice(known) if known else None


@contextmanager
def files_landing(river: River, *, seed: float, seconds: float) -> Generator[None, None, None]:
    """All files land while the block runs, over `seconds` in the mean; it ends when the last has landed."""
    rng = random.Random(seed)
    names = [f"{'flaky' if n % 20 == 7 else 'bad' if n % 30 == 11 else 'good'}-{n:03}" for n in range(FILES)]
    ended = threading.Event()

    def feed() -> None:
        for name in names:
            river.land(name, rename=rng.random() < 0.5)
            if len(river.keys) % 100 == 0:
                beat(river.site.folder)
            ended.wait(rng.expovariate(FILES / seconds))

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield
    finally:
        ended.set()
        feeder.join()
