"""The options of `freshet simulate`, what it refuses, and how it ends early."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
from tests.engine.rig import rig
from tests.simulation.folder import Folder, folder_at

from freshet import Freshness, Schedule, asset
from freshet.cli.app import run
from freshet.engine.clock import SimulatedClock
from freshet.store.queries import runs as read_runs
from freshet.store.store import Store

PLAIN = """
from freshet import Freshness, Schedule, asset, sensor

@asset(freshness=Freshness(within="1d"))
def prices(): return 1

@asset
def other(): return 1

@sensor(target=other)
def look(ctx): yield from ()

Schedule("hourly", cron="0 * * * *", target=prices)
Schedule("half", cron="30 * * * *", target=other)
"""
AT_FIVE = ("--from", "2026-05-01T05:00", "--until", "1d")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """One asset each hour, another at half past."""
    return folder_at(tmp_path, plain=PLAIN)


def test_lines_for_people(folder: Folder) -> None:
    done = folder.simulate("--from", "2026-05-01T05:59:59", "--until", "1h")
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "2026-05-01T06:00:00+02:00  tick       hourly",
        "2026-05-01T06:00:00+02:00  started    prices run 1 (schedule:hourly)",
        "2026-05-01T06:00:01+02:00  succeeded  prices run 1 in 1s",
    ]
    assert lines[6:] == [
        "",
        "2026-05-01T05:59:59+02:00 to 2026-05-01T06:59:59+02:00  (1h)",
        "ticks",
        "  half    1",
        "  hourly  1",
        "runs",
        "  other   1  1s in all",
        "  prices  1  1s in all",
        "peaks",
        "  busiest minute  1 steps started, 2026-05-01T06:00:00+02:00",
    ]
    assert done.stderr == "note: sensors are user code and are not run: look; --files LISTING says what arrives\n"


def test_only_some_names(folder: Folder) -> None:
    told = folder.entries(*AT_FIVE, "--only", "prices", "--only", "look")
    assert {one["name"] for one in told if "name" in one} == {"prices"}
    assert (told[-1]["ticks"], list(told[-1]["runs"])) == ({}, ["prices"])


def test_of_a_schedule_its_runs_too(folder: Folder) -> None:
    told = folder.entries(*AT_FIVE, "--only", "half")
    kinds = [(one["kind"], one["name"]) for one in told[1:4]]
    assert kinds == [("tick", "half"), ("started", "other"), ("succeeded", "other")]
    assert {one["name"] for one in told if "name" in one} == {"half", "other"}
    assert (told[-1]["ticks"], told[-1]["runs"]["other"]["runs"]) == ({"half": 24}, 24)


def test_spans_that_meet_hold_each_instant_once(tmp_path: Path) -> None:
    """The instant of --from belongs to the span, that of --until does not."""
    folder = folder_at(
        tmp_path,
        days="from freshet import Schedule, asset\n@asset\ndef a(): return 1\n"
        "Schedule('midnight', cron='0 0 * * *', target=a)\nSchedule('each', every='1h', target=a)\n",
    )
    ticks = [
        [
            one["at"]
            for one in folder.entries("--from", day, "--until", "1d", "--only", "midnight")
            if one["kind"] == "tick"
        ]
        for day in ("2026-05-01", "2026-05-02")
    ]
    assert ticks == [["2026-05-01T00:00:00+02:00"], ["2026-05-02T00:00:00+02:00"]]
    often = "from freshet import Schedule\nSchedule('often', cron='*/2 * * * * *', target='a')\n"
    (folder.path / "plugins" / "often.py").write_text(often)
    told = folder.entries("--from", "2026-05-01T08:00", "--until", "2m")[-1]
    assert (told["ticks"], told["skipped"]) == ({"often": 60, "each": 1}, {})


def test_nothing_is_said_to_happen(folder: Folder) -> None:
    done = folder.simulate("--from", "2026-05-01T05:01", "--until", "1m")
    assert done.stdout.splitlines()[0] == "nothing would happen"


def test_the_summary_is_of_what_was_asked_for(folder: Folder) -> None:
    told = folder.entries("--from", "2026-05-01T05:45", "--until", "5m", "--only", "prices", "--duration", "other=1h")
    assert (told[-1]["busiest_minute"], told[-1]["running"]) == (None, 0)
    told = folder.entries("--from", "2026-05-01T05:30", "--until", "31m", "--only", "prices", "--duration", "other=2h")
    assert told[-1]["busiest_minute"] == {"count": 1, "at": "2026-05-01T06:00:00+02:00"}
    assert told[-1]["running"] == 0


def test_now_and_a_duration_are_the_default(folder: Folder) -> None:
    summary = folder.entries("--only", "half")[-1]
    assert summary["ticks"] == {"half": 30 * 24}


def test_a_pace(folder: Folder) -> None:
    began = time.monotonic()
    assert folder.entries("--from", "2026-05-01", "--until", "12h", "--speed", "36000")[-1]["ticks"]["half"] == 12
    assert time.monotonic() - began > 12 / 10


def test_durations_are_those_that_were_recorded(folder: Folder) -> None:
    _past(folder, {"prices": 7.0, "other": 1.0})
    told = folder.entries(*AT_FIVE, "--duration", "other=2m")
    took = {one["name"]: one["seconds"] for one in told if one["kind"] == "succeeded"}
    assert took == {"prices": 7.0, "other": 120.0}


def test_the_present_state_goes_on_and_is_not_touched(folder: Folder) -> None:
    """Made at noon for the last time, what promises a day lapses at noon, whenever the simulation begins."""
    end = _past(folder, {"prices": 1.0, "other": 1.0})
    (folder.path / "plugins" / "plain.py").write_text(PLAIN.replace("target=prices", "target=other"))
    state = folder.path / "state"
    before = {one: hashlib.sha256(one.read_bytes()).hexdigest() for one in state.iterdir() if one.is_file()}
    begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end + 3600))
    told = folder.entries("--from", begin, "--until", "1d", "--state", "--only", "prices")
    assert [one["kind"] for one in told[:-1]] == ["note", "lapsed"]
    assert told[-1]["lapses"] == {"prices": 1}
    assert told[1]["at"].startswith("2026-04-11T12:00:01")
    assert {one: hashlib.sha256(one.read_bytes()).hexdigest() for one in state.iterdir() if one.is_file()} == before


def test_it_reads_beside_a_daemon(folder: Folder) -> None:
    end = _past(folder, {"prices": 7.0})

    async def beside() -> list[float]:
        store = await Store.open(folder.path / "state" / "freshet.db", now=end)
        try:
            await store.write(lambda db: db.execute("UPDATE steps SET ended_at = started_at + 9"))
            arguments = (*AT_FIVE, "--state", "--only", "prices")
            told = await asyncio.to_thread(folder.entries, *arguments)
            assert await store.read(partial(read_runs, limit=1)), "it works on"
        finally:
            await store.close()
        return [one["seconds"] for one in told if one["kind"] == "succeeded"]

    assert set(asyncio.run(beside())) == {9.0}


def test_a_daemon_that_is_ahead_of_now_is_followed(folder: Folder) -> None:
    end = _past(folder, {}, begin=float(int(time.time())) - 2 * 3600 + 120)
    told = folder.entries("--state", "--until", "2h")
    assert told[-1]["kind"] == "summary"
    assert sum(told[-1]["ticks"].values()) in (3, 4)
    assert end > time.time(), "else this shows nothing"


def _past(folder: Folder, lasts: dict[str, float], begin: float = 1_775_808_030.0) -> float:
    """A state of two hours, up to 2026-04-10T12:00:30 in Berlin or from `begin`; returns its end."""

    @asset(name="prices", freshness=Freshness(within="1d"))
    def prices() -> int:
        return 1

    @asset(name="other")
    def other() -> int:
        return 1

    async def pass_time() -> None:
        clock = SimulatedClock.steadily(begin)
        (folder.path / "state").mkdir()
        objects = [prices, other, Schedule("hourly", cron="0 * * * *", timezone="Europe/Berlin", target=prices)]
        async with rig(
            folder.path / "state", objects, clock=clock, duration=lambda step: lasts.get(step.name, 1.0)
        ) as made:
            await made.advance(2 * 3600)

    asyncio.run(pass_time())
    return begin + 2 * 3600


# --- refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        (["--from", "tomorrow"], "--from: 'tomorrow' is no date and no time", "2026-03-01T02:30"),
        (["--until", "soon"], "--until: 'soon' is no date and no time", '"30d"'),
        (["--from", "2026-02-30"], "--from: '2026-02-30' is no date", "write it as"),
        (["--from", "0001-01-01"], "--from: '0001-01-01' is too far away", "1971"),
        (["--from", "2026-05-02", "--until", "2026-05-01"], "is not after", "later"),
        (["--until", "0s"], "is not after", "later"),
        (["--only", "price"], "--only: there is nothing called 'price'", "'prices'"),
        (["--duration", "prices"], "--duration 'prices' is not NAME=DURATION", "sales=30s"),
        (["--duration", "hourly=1s"], "--duration: there is nothing called 'hourly'", ""),
        (["--duration", "prices=long"], "'long' is not a duration", "30s"),
        (["--speed", "0"], "--speed", "--help"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named(
    folder: Folder, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str, hint: str
) -> None:
    assert run(["simulate", *arguments, "--config", str(folder.path / "freshet.toml")]) == 2
    out, err = capsys.readouterr()
    message, _, remedy = err.partition("\nhint: ")
    assert out == ""
    assert says in message
    assert hint in remedy


@pytest.mark.parametrize(
    ("listing", "says"),
    [
        ("2026-05-01 a.csv\nsoon a.csv\n", "listing.txt:2: 'soon' is no date and no time"),
        ("\n2026-05-01T05:00\n", "listing.txt:2: a time without a path"),
        ("\xff", "listing.txt: no UTF-8 text"),
        (None, "listing.txt cannot be read: No such file"),
    ],
    ids=["time", "path", "bytes", "missing"],
)
def test_a_listing_that_cannot_be_read_names_the_line(
    folder: Folder, capsys: pytest.CaptureFixture[str], listing: str | None, says: str
) -> None:
    file = folder.path / "listing.txt"
    if listing is not None:
        file.write_bytes(listing.encode("latin-1"))
    assert run(["simulate", "--files", str(file), "--config", str(folder.path / "freshet.toml")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err


def test_broken_plugins_are_named(folder: Folder) -> None:
    (folder.path / "plugins" / "bad.py").write_text("1 / 0\n")
    done = folder.simulate()
    assert (done.returncode, done.stdout) == (1, "")
    assert "bad.py:1: error: ZeroDivisionError" in done.stderr


def test_a_state_that_is_not_there_or_of_later_is_refused(folder: Folder) -> None:
    done = folder.simulate("--state")
    assert done.returncode == 1
    assert "there is no state at" in done.stderr
    _past(folder, {})
    done = folder.simulate("--state", "--from", "2026-01-01")
    assert done.returncode == 1
    assert "the state holds events that are later than --from" in done.stderr


def test_a_sensor_that_fails_to_judge_is_told(folder: Folder) -> None:
    (folder.path / "plugins" / "judges.py").write_text(
        "from freshet import RunRequest, Sensor\n"
        "print('noise')\n"
        "class Judge(Sensor):\n"
        "    def arrival(self, path, at):\n"
        "        if path == 'bad': raise KeyError(path)\n"
        "        if path == 'wrong': return 7\n"
        "        if path == 'stray': return RunRequest('nothing')\n"
        "        return RunRequest('other', tags={'file': path, 'at': str(at)})\n"
        "Judge('judge', interval='1h')\n"
    )
    (folder.path / "listing.txt").write_text(
        "2026-05-01T05:10 good\n2026-05-01T05:11 bad\n2026-05-01T05:12 wrong\n2026-05-01T05:13 stray\n"
    )
    told = folder.entries(*AT_FIVE, "--files", "listing.txt")
    notes = "\n".join(one["detail"] for one in told if one["kind"] == "note")
    assert "listing.txt:2: judge passes over bad: KeyError: 'bad'" in notes
    assert "listing.txt:3: judge passes over wrong: WrongResult:" in notes
    ticks = [one["at"][11:16] for one in told if one["kind"] == "tick" and one["name"] == "judge"]
    assert ticks == ["05:10", "05:13"]
    (failing,) = [one for one in told if one["kind"] == "failing"]
    assert failing["name"] == "judge"
    assert "'nothing', which is no asset and no job" in failing["detail"]
    started = [one for one in told if one["kind"] == "started" and one["detail"] == "sensor:judge"]
    assert [one["at"][11:16] for one in started] == ["05:10"]


# --- ended early ---------------------------------------------------------------------------------------------


def test_ctrl_c_prints_the_summary_so_far(folder: Folder) -> None:
    arguments = folder.argv("--from", "2026-05-01T05:59:59", "--speed", "1", "--json")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=folder.environment) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert lines[1]["kind"] == "tick", "after the note"
        process.send_signal(signal.SIGINT)
        rest = [json.loads(line) for line in process.stdout]
        assert process.wait(timeout=30) == 130
    assert rest[-1]["kind"] == "summary"
    assert rest[-1]["ticks"] == {"hourly": 1}
    assert rest[-1]["until"].startswith("2026-05-01T06:00:")


def test_a_reader_that_leaves_ends_it(folder: Folder) -> None:
    with subprocess.Popen(
        folder.argv("--from", "2026-05-01", "--until", "300d"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=folder.environment,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(timeout=30) == 0
