"""What happens to a daemon in the crash tests, in an order that makes every kind of transaction occur."""

from __future__ import annotations

import contextlib
import itertools
import signal
from collections.abc import Callable

from tests.support.daemon import Daemon, DaemonEnded, Site
from tests.support.river import beat, beats, drop, is_good

from freshet.errors import DaemonUnreachable
from freshet.http.models import MaterializeBody, RunAnswer

__all__ = ["River"]


class River:
    """The files of a site, through any number of daemons."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.keys: set[str] = set()
        self._rounds = itertools.count()

    def land(self, *keys: str, rename: bool = False) -> None:
        """Let files land."""
        for key in keys:
            drop(self.site.inbox, key, rename=rename)
            self.keys.add(key)

    def play(self, daemon: Daemon, *, only_the_end: bool = False) -> int:
        """All that can happen, until the daemon ends, on SIGTERM at the latest. Returns its exit status."""
        turn = next(self._rounds)
        with contextlib.suppress(DaemonEnded, DaemonUnreachable):
            daemon.ready()
            if not only_the_end:
                self._play(daemon, turn)
            self._end(daemon, turn)
        return daemon.wait_ended()

    def _play(self, daemon: Daemon, turn: int) -> None:
        self.let_slow_ones_go()
        daemon.client.materialize(MaterializeBody(assets=("pulse",)))
        self.land(f"good-{turn}-alone", rename=True)
        beat(self.site.folder)
        daemon.wait_until(lambda: self.made(daemon, "raw"), "the first file is read")
        burst = [f"good-{turn}-{n}" for n in range(5)]
        self.land(*burst, f"flaky-{turn}", f"bad-{turn}")
        self.edit(daemon)
        (self.site.folder / "stumble").touch()
        self.wait_at_rest(daemon)
        self.refresh(daemon)

    def _end(self, daemon: Daemon, turn: int) -> None:
        (self.site.folder / "go").unlink(missing_ok=True)
        self.land(f"slow-{turn}", rename=True)
        daemon.wait_until(lambda: any(map(_is_slow, daemon.client.runs(state="started"))), "a slow step runs")
        daemon.signal(signal.SIGTERM)

    def let_slow_ones_go(self) -> None:
        """End the steps that read slow files, now and later."""
        (self.site.folder / "go").touch()

    def edit(self, daemon: Daemon) -> None:
        """Edit the plugin, and wait until other definitions are in force."""
        before = daemon.client.status().definitions_version
        with (self.site.plugins / "river.py").open("a") as plugin:
            plugin.write("# as it was\n")
        daemon.wait_until(lambda: daemon.client.status().definitions_version != before, "other definitions")

    def refresh(self, daemon: Daemon) -> None:
        """Refresh `pulse`, which has lapsed, and wait until that is known."""
        lapsed = daemon.client.asset("pulse").materialized_at
        beat(self.site.folder)
        daemon.wait_until(lambda: daemon.client.asset("pulse").materialized_at != lapsed, "pulse is refreshed")

    # --- rest -----------------------------------------------------------------------------------------------

    def wait_at_rest(self, daemon: Daemon, *, within: float = 30.0) -> None:
        """Wait until everything that landed has arrived at the bottom, and `pulse` has lapsed and been answered."""
        conditions: dict[str, Callable[[Daemon], bool]] = {
            "every file is read": lambda daemon: self.made(daemon, "raw"),
            "every good file is clean": lambda daemon: self.made(daemon, "clean"),
            "sales covers every good file": self.covered,
            "every beat is counted": self.counted,
            "pulse has lapsed and echo followed": self.echoed,
            "nothing runs": Daemon.idle,
        }
        for what, condition in conditions.items():
            daemon.wait_until(lambda now=condition: now(daemon), what, within=within)  # type: ignore[misc]

    def made(self, daemon: Daemon, asset: str) -> bool:
        """Whether the asset is made of every file that allows it, and has failed for the others."""
        counts = daemon.client.asset(asset).counts
        wanted = self.keys if asset == "raw" else {key for key in self.keys if is_good(key)}
        return (counts.materialized, counts.failed, counts.in_progress) == (len(wanted), len(self.keys - wanted), 0)

    def covered(self, daemon: Daemon) -> bool:
        """Whether the last run of `sales` saw all good files."""
        runs = daemon.client.runs(target="sales", limit=1)
        good = sum(map(is_good, self.keys))
        return bool(runs) and runs[0].state == "succeeded" and _metadata(runs[0]).get("batches") == good

    def counted(self, daemon: Daemon) -> bool:
        """Whether the sensor of `pulse` has seen every beat."""
        return (daemon.client.cursor("beats").cursor or 0) == beats(self.site.folder)

    def echoed(self, daemon: Daemon) -> bool:
        """Whether `pulse` has lapsed and `echo` was made for that."""
        pulse, echo = daemon.client.asset("pulse"), daemon.client.asset("echo")
        if pulse.freshness is None or pulse.freshness.state != "lapsed" or pulse.freshness.deadline is None:
            return False
        return echo.materialized_at is not None and echo.materialized_at >= pulse.freshness.deadline


def _is_slow(run: RunAnswer) -> bool:
    return run.partition is not None and run.partition.startswith("slow-")


def _metadata(run: RunAnswer) -> dict[str, object]:
    return run.steps[0].metadata or {}
