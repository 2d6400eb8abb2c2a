"""How a daemon ends, and why it does not begin."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from tests.support.daemon import IMPORT_TESTS, Daemon, Site, wait_until

from freshet.errors import FreshetError
from freshet.http.models import MaterializeBody

PLUGIN = '''
import time
from pathlib import Path

from freshet import AutomationCondition, DynamicPartitions, asset
from freshet_sensors import FileSensor

batches = DynamicPartitions("batches")
landing = FileSensor(
    "landing", path="inbox", pattern="{name}.txt", partitions=batches, target="seen", settle="0s", interval="200ms"
)


@asset(partitions=batches)
def seen() -> int:
    return 1


@asset(automation=AutomationCondition.eager())
def total(seen: dict[str, int]) -> int:
    return len(seen)


@asset
def lasting(ctx) -> int:
    """Ends when it is told to."""
    Path(f"lasting.{ctx.attempt}").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return ctx.attempt
'''
MakeSite = Callable[..., Site]


def begin_lasting(site: Site, daemon: Daemon, *, attempt: int = 1) -> int:
    """Start the step and wait until it runs; its run."""
    (number,) = daemon.client.materialize(MaterializeBody(assets=("lasting",))).runs
    daemon.wait_until((site.folder / f"lasting.{attempt}").exists, "the step runs")
    return number


# --- stopping ------------------------------------------------------------------------------------------------


def test_a_running_step_that_ends_in_time_is_not_interrupted(make_site: MakeSite) -> None:
    """SIGTERM waits for it, no longer than it takes, and commits its end."""
    site = make_site(PLUGIN, grace="20s")
    daemon = site.start().ready()
    number = begin_lasting(site, daemon)
    daemon.signal(signal.SIGTERM)
    daemon.wait_until(lambda: "stopping" in daemon.log_text(), "it says that it stops")
    (site.folder / "go").touch()
    assert daemon.wait_ended(within=40) == 0
    text = daemon.log_text()
    for wanted in ("http://127.0.0.1:", str(site.plugins), "running_steps", "a second signal stops at once"):
        assert wanted in text, text
    assert not site.processes()
    again = site.start().ready()
    found = again.client.run(number)
    assert (found.state, found.interruptions, found.steps[0].attempt) == ("succeeded", 0, 1)


def test_a_running_step_is_interrupted_after_the_grace_and_runs_again(make_site: MakeSite) -> None:
    """It is not a failure, costs no retry, and shows as interrupted."""
    site = make_site(PLUGIN, grace="700ms")
    daemon = site.start().ready()
    number = begin_lasting(site, daemon)
    began = time.monotonic()
    assert daemon.stop(within=40) == 0
    assert time.monotonic() - began >= 0.7
    assert not site.processes()
    again = site.start().ready()
    again.wait_until((site.folder / "lasting.2").exists, "it runs again")
    (site.folder / "go").touch()
    found = again.client.wait(number, timeout=60)
    assert (found.state, found.interruptions, found.steps[0].attempt) == ("succeeded", 1, 2)
    assert found.steps[0].failures == 0
    assert again.stop() == 0


def test_a_second_sigterm_ends_it_now(make_site: MakeSite) -> None:
    """Long before the grace is over; what ran is recorded as interrupted all the same."""
    site = make_site(PLUGIN, grace="60s")
    daemon = site.start().ready()
    number = begin_lasting(site, daemon)
    daemon.signal(signal.SIGTERM)
    daemon.wait_until(lambda: "stopping" in daemon.log_text(), "it says that it stops")
    began = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_ended(within=40) == 0
    assert time.monotonic() - began < 30, "not the whole grace"
    assert not site.processes()
    again = site.start().ready()
    again.wait_until((site.folder / "lasting.2").exists, "it runs again")
    assert again.client.run(number).interruptions == 1


def test_sigint_stops_it_too(make_site: MakeSite) -> None:
    """Ctrl-C at a terminal; the socket's file is gone."""
    site = make_site(PLUGIN)
    daemon = site.start().ready()
    daemon.signal(signal.SIGINT)
    assert daemon.wait_ended(within=40) == 0
    assert not (site.state / "freshet.sock").exists()
    assert not site.processes()


def test_stopped_while_it_starts(make_site: MakeSite) -> None:
    """SIGTERM before it is ready: exit 0, nothing left, and the next one starts."""
    site = make_site(f"import time\ntime.sleep(1)\n{PLUGIN}")
    daemon = site.start()
    daemon.wait_until(lambda: len(site.processes()) >= 2, "its host loads the plugins")
    daemon.wait_until(lambda: (site.state / "freshet.sock").exists(), "it listens")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_ended(within=40) == 0
    wait_until(lambda: not site.processes(), "nothing is left")
    assert site.start().ready().stop() == 0


# --- not beginning -------------------------------------------------------------------------------------------


def test_a_second_daemon_on_the_same_state_is_refused(make_site: MakeSite) -> None:
    """Exit 1, naming the first by its pid; the first is not disturbed."""
    site = make_site(PLUGIN)
    first = site.start().ready()
    second = site.cli("run", within=40)
    assert second.returncode == 1
    assert f"process {first.pid}" in second.stderr
    assert "hint:" in second.stderr
    assert "Traceback" not in second.stderr
    assert first.client.status().state == "ready"
    assert first.stop() == 0
    assert site.start().ready().stop() == 0


def test_a_folder_of_plugins_that_is_not_there_is_named(make_site: MakeSite) -> None:
    """Exit 1, in the words of `check`."""
    site = make_site(PLUGIN)
    site.plugins.rename(site.folder / "elsewhere")
    began = site.cli("run", within=40)
    assert (began.returncode, f"plugins_dir: {site.plugins} is no folder" in began.stderr) == (1, True), began.stderr
    assert site.cli("check").stderr == began.stderr


def test_plugins_that_are_broken_at_the_start_are_all_named(make_site: MakeSite) -> None:
    """Exit 1; each problem with its file; `check` says the same."""
    site = make_site(PLUGIN)
    (site.plugins / "syntax.py").write_text("def broken(:\n")
    (site.plugins / "raises.py").write_text("x = 1\nraise RuntimeError('not today')\n")
    daemon = site.start()
    assert daemon.wait_ended() == 1
    text = daemon.log_text()
    for wanted in ("syntax.py", "raises.py", "not today"):
        assert wanted in text, text
    assert not site.processes()
    checked = site.cli("check")
    assert checked.returncode == 1
    assert "syntax.py" in checked.stderr
    assert "raises.py" in checked.stderr


# --- bugs of ours --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        "freshet.engine.ticks:TickLoop.ended",
        "freshet.engine.ticks:TickLoop._due",
        "freshet.engine.launcher:Launcher.ended",
        "freshet.engine.launcher:Launcher._result",
        "freshet.engine.automator:Automator.published",
        "freshet.engine.automation:Automation.evaluate",
        "freshet.engine.freshness:FreshnessBook.on_events",
        "freshet.engine.bus:Bus.publish",
        "freshet.store.writer:run_batch",
    ],
)
def test_a_bug_of_ours_ends_the_daemon(make_site: MakeSite, place: str) -> None:
    """With its traceback and a status that makes systemd start it again; nothing is left, and the state is sound."""
    site = make_site(PLUGIN, grace="1s")
    daemon = site.start(("-m", "tests.e2e.broken", place), env=IMPORT_TESTS).ready()
    (site.folder / "break").touch()
    (site.inbox / "one.txt").touch()
    status = daemon.wait_ended()
    assert status not in (0, -9), status
    assert "ZeroDivisionError: a bug of ours" in daemon.log_text()
    wait_until(lambda: not site.processes(), "nothing is left")
    (site.folder / "break").unlink()
    again = site.start().ready()
    again.wait_until(lambda: again.client.asset("total").counts.materialized == 1, "the file arrives at the bottom")
    assert again.stop() == 0


@pytest.mark.parametrize("place", ["freshet.engine.bus:Bus.publish", "freshet.engine.queue.queue:RunQueue.settle"])
def test_a_bug_of_ours_behind_a_request_ends_the_daemon(make_site: MakeSite, place: str) -> None:
    """What was admitted and not launched would otherwise stay started for ever."""
    site = make_site(PLUGIN, grace="1s")
    daemon = site.start(("-m", "tests.e2e.broken", place), env=IMPORT_TESTS).ready()
    (site.folder / "go").touch()
    (site.folder / "break").touch()
    with pytest.raises(FreshetError):
        daemon.client.materialize(MaterializeBody(assets=("lasting",)))
    assert daemon.wait_ended() not in (0, -9)
    assert "ZeroDivisionError: a bug of ours" in daemon.log_text()
    (site.folder / "break").unlink()
    again = site.start().ready()
    assert again.client.wait(1, timeout=60).state == "succeeded"
    assert again.stop() == 0


def test_a_bug_of_ours_in_an_answer_is_logged(make_site: MakeSite) -> None:
    """Nothing depends on it but who asked: the daemon goes on, and its log has the traceback."""
    site = make_site(PLUGIN)
    daemon = site.start(("-m", "tests.e2e.broken", "freshet.engine.hand:SensorDesk.states"), env=IMPORT_TESTS).ready()
    (site.folder / "break").touch()
    asked = site.cli("sensors")
    assert asked.returncode == 1
    assert "ZeroDivisionError in the daemon" in asked.stderr
    daemon.wait_until(lambda: "ZeroDivisionError: a bug of ours" in daemon.log_text(), "the log has the traceback")
    (site.folder / "break").unlink()
    assert site.cli("sensors").returncode == 0
    assert daemon.stop() == 0
