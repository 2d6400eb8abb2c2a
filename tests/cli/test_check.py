"""`freshet check`: a real load that starts nothing, and what it says of each mistake."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from freshet.cli.app import run

GOOD = """
from freshet import AutomationCondition, Freshness, Schedule, asset, job, sensor

@asset(freshness=Freshness(within="1h"), automation=AutomationCondition.eager())
def raw(): return 1

@asset
def made(raw): return raw

@job
def notify(ctx, order_id: int): ...

@sensor(interval="5s", target="raw")
def look(ctx): yield from ()

Schedule("nightly", cron="0 3 * * *", target="raw")
"""


def _site(folder: Path, **plugins: str) -> list[str]:
    (folder / "plugins").mkdir()
    for name, source in plugins.items():
        (folder / "plugins" / f"{name}.py").write_text(source)
    (folder / "freshet.toml").write_text('state_dir = "state"\nplugins_dir = "plugins"\n')
    return ["check", "--config", str(folder / "freshet.toml")]


def test_a_clean_folder_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_site(tmp_path, good=GOOD)) == 0
    assert capsys.readouterr() == ("ok: 2 assets, 1 job, 1 sensor, 1 schedule, 0 partition sets\n", "")
    assert not (tmp_path / "state").exists(), "nothing was started"


def test_it_works_beside_a_running_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = _site(tmp_path, good=GOOD)
    (tmp_path / "state").mkdir()
    with (tmp_path / "state" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = sorted((tmp_path / "state").rglob("*"))
        assert run([*argv, "--json"]) == 0
        assert sorted((tmp_path / "state").rglob("*")) == before
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["assets"], said["jobs"], said["sensors"]) == (True, ["raw", "made"], ["notify"], ["look"])
    assert said["schedules"] == ["nightly"]


def test_a_pool_without_a_setting_is_named_with_its_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = 'from freshet import Pool, job\n\n@job(pool=Pool("wharehouse", slots=2))\ndef work(): ...\n'
    argv = _site(tmp_path, one=source)
    assert run(argv) == 1
    said = capsys.readouterr().err
    assert "one.py:3: error: job 'work': there is no pool 'wharehouse'" in said
    assert "[pools] wharehouse = 4" in said
    config = tmp_path / "freshet.toml"
    plain = config.read_text()
    config.write_text(plain + "[pools]\nwharehouse = 1\n")
    assert run(argv) == 1
    assert "takes 2 slots of the pool 'wharehouse', which has 1" in capsys.readouterr().err
    config.write_text(plain + "[pools]\nwharehouse = 2\n")
    assert run(argv) == 0


@pytest.mark.parametrize(
    ("source", "place", "says", "hint"),
    [
        ("def broken(:\n    pass\n", "bad.py:1: ", "invalid syntax", ""),
        ("\n1 / 0\n", "bad.py:2: ", "ZeroDivisionError", ""),
        ("import nothing_of_this_name\n", "bad.py:1: ", "nothing_of_this_name", ""),
        (
            "from freshet import asset\n\n@asset\ndef late(mdae): return mdae\n",
            "bad.py:3: ",
            "'late' depends on 'mdae', which no plugin declares",
            "did you mean 'made'?",
        ),
        (
            "from freshet import asset\n\n@asset\ndef a(b): ...\n\n@asset\ndef b(a): ...\n",
            "bad.py:",
            "the assets form a cycle: ",
            "take one of these dependencies out",
        ),
        (
            "from freshet import asset\n\n@asset\ndef raw(): return 2\n",
            "good.py:",
            "'raw' is declared twice",
            "rename one of them",
        ),
        (
            "from freshet import Freshness\nFreshness(within='5 parsecs')\n",
            "bad.py:2: ",
            "'5 parsecs' is not a duration",
            '"30s"',
        ),
        ("from freshet import asset\nraise ValueError('[bold]\\x1b[31m')\n", "bad.py:2: ", "[bold]\\x1b[31m", ""),
    ],
    ids=["syntax", "raises", "import", "unknown", "cycle", "twice", "duration", "markup"],
)
def test_a_mistake_is_named_with_file_line_and_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, place: str, says: str, hint: str
) -> None:
    assert run(_site(tmp_path, good=GOOD, bad=source)) == 1
    out, err = capsys.readouterr()
    first, _, rest = err.partition("\n")
    assert first.startswith(f"{tmp_path}/plugins/{place}"), err
    assert says in first
    assert hint in rest
    assert out.startswith("1 problem: ")
    assert "\x1b" not in err


def test_all_problems_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*_site(tmp_path, a="1 / 0\n", b="def (\n", good=GOOD), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [Path(one["file"]).name for one in said["problems"]] == ["a.py", "b.py"]
    assert "ZeroDivisionError" in said["problems"][0]["traceback"]


def test_a_plugin_that_ends_its_process_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_site(tmp_path, good=GOOD, killer="import os\nos._exit(3)\n")) == 1
    assert "killer.py" in capsys.readouterr().err


def test_a_missing_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = _site(tmp_path)
    (tmp_path / "plugins").rmdir()
    assert run(argv) == 1
    assert f"{tmp_path}/plugins is no folder" in capsys.readouterr().err


ONE_OR_SEVERAL = """
from __future__ import annotations
from typing import Annotated, Any
from freshet import Dep, Last, TimePartitions, TimeWindow, asset

days = TimePartitions("daily", start="2026-01-01")

@asset(partitions=days)
def raw() -> int: return 1

@asset(partitions=days)
def week(raw: Annotated[int, Dep(mapping=TimeWindow(start=-6))]) -> int: return 1

@asset
def total(raw: list[int]) -> int: return 1

@asset(partitions=days)
def right(
    raw: Annotated[dict[str, int], Dep(mapping=TimeWindow(start=-6))], week: int, untold=None, *, total: Any
) -> int: return 1

@asset
def untold(raw: Annotated[int, Dep(mapping=Last())], week: dict[str, int] | None) -> int: return 1
"""


def test_a_parameter_for_one_value_where_there_are_several_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(_site(tmp_path, days=ONE_OR_SEVERAL)) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if "warning: " in line]
    assert len(warned) == 2, warned
    assert "days.py:11: warning: asset 'week': the parameter 'raw' is annotated as int" in warned[0]
    assert "of several partitions of 'raw' by TimeWindow(), in a dict by key" in warned[0]
    assert "asset 'total': the parameter 'raw' is annotated as list[int]" in warned[1]


JOBS = """
from typing import Any
from freshet import Batch, Schedule, Sensor, asset, job
from freshet_sensors import AssetSensor, RunStatusSensor

@asset
def raw() -> int: return 1

@job
def notify(order_id: int, urgent: bool = False) -> None: ...

@job
def digest(items: list[dict[str, Any]], to: str) -> None: ...

class Files(Sensor):
    def evaluate(self, ctx): yield from ()
"""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            'Schedule("late", cron="0 3 * * *", target="notify")',
            "late: params: job notify: parameter 'order_id' is",
        ),
        (
            'Schedule("late", cron="0 3 * * *", target="notify", params={"order_id": "x"})',
            "parameter 'order_id': Input should be a valid integer",
        ),
        (
            'Schedule("late", cron="0 3 * * *", target=notify, params={"order_id": 1, "urgnt": True})',
            "there is no parameter 'urgnt'",
        ),
        (
            "RunStatusSensor('r', target='notify')",
            "it gives 'run', which the job 'notify' does not have",
        ),
        (
            "AssetSensor('a', asset='raw', target='notify', params=['seq'])",
            "it gives 'seq', which the job 'notify' does not have",
        ),
        (
            "AssetSensor('a', asset='raw', target='notify')",
            "it gives no parameters, and the job 'notify' needs 'order_id'",
        ),
        (
            'Files("files", target="notify", interval="30s", params={"order_di": "{tags.id}"})',
            "params= names 'order_di', which the job 'notify' does not have",
        ),
        (
            'Files("files", target="digest", interval="30s", batch=Batch(3, "5s"))',
            "the parameter `items` alone, and it needs 'to', too",
        ),
    ],
)
def test_parameters_that_are_written_down_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    assert run(_site(tmp_path, jobs=f"{JOBS}\n{line}\n")) == 1
    said = capsys.readouterr().err
    assert says in said and f"jobs.py:{JOBS.count(chr(10)) + 2}: error: " in said, said
