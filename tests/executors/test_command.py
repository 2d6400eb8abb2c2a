"""Programs as steps: `Command([...])`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from tests.executors.hosting import hosting, ref
from tests.support.processes import alive

pytestmark = pytest.mark.anyio

SHOWS = """
import json, os, sys
with os.fdopen(3, "w") as report:
    told = {name: value for name, value in os.environ.items() if name.startswith("FRESHET_")}
    told["argv"], told["cwd"], told["OWN"] = sys.argv[1:], os.getcwd(), os.environ.get("OWN")
    told["inputs"] = [json.loads(line) for line in open(told["FRESHET_INPUTS"])]
    print(json.dumps({"value": told, "metadata": {"n": 3}}), file=report)
"""
SAYS = r"""
import os, sys, time
print("out"); print("err", file=sys.stderr); sys.stdout.flush(); os.write(1, bytes([255, 10]))
report = os.fdopen(3, "wb", buffering=0)
report.write(b'{"progress": {"done": 1, "total": 4}}\n')
report.write(b'{"log": {"level": "warning", "message": "hm", "fields": {"a": 1}}}\n')
report.write(b'nonsense\n[]\n{"unknown": 1}\n{"metadata": 3}\n\n{"data_ver'); time.sleep(0.05)
report.write(b'sion": "v7"}\n{"value": [7]}')
"""
FILE = """
import sys
open("made", "w").write(sys.argv[1])
open(3, "w").write('{"value_path": "made"}')
"""
PLUGIN = """
import sys
from freshet import Command, DynamicPartitions, asset, job

keys = DynamicPartitions("keys")
PYTHON = [sys.executable, "-S"]
TOLD = ["{partition.key}", "{partition.metadata.path}", "{run_id}.{attempt}", "; rm -rf $HOME"]

@asset
def above():
    return [1, 2]

@asset(partitions=keys, env={"OWN": "yes"}, cwd="plugins", executor=Command([*PYTHON, "../shows.script", *TOLD]))
def shows(above): ...

@asset(executor=Command([*PYTHON, "says.script"]))
def says() -> list[int]: ...

@asset(io="json", executor=Command([*PYTHON, "file.script", "[1, 2"]))
def broken(): ...

@asset(io="text", executor=Command([*PYTHON, "file.script", "text"]))
def written() -> str: ...

@asset(io="json", executor=Command([*PYTHON, "file.script", "[]"]))
def wrong() -> int: ...

@job(executor=Command([*PYTHON, "-c", "import sys; sys.exit(int(sys.argv[1]))", "{params.code}", "{params.more}"]))
def exits(code: int, more: list[str] = []): ...

@job(executor=Command([*PYTHON, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]))
def killed(): ...

@job(executor=Command(["no-such-program"]))
def missing(): ...

@job(executor=Command(["sh", "-c", "sleep 1000 & echo $! > left"]))
def leaves(): ...

@job(executor=Command(["sh", "-c", "trap 'echo bye; exit 9' TERM; echo $$ > pid; while :; do sleep 0.02; done"]))
def polite(): ...

@job(timeout="300ms", executor=Command(["sh", "-c", "echo $$ > pid; sleep 1000"]))
def slow(): ...
"""


@pytest.fixture(autouse=True)
def scripts(tmp_path: Path) -> None:
    for name, text in {"shows": SHOWS, "says": SAYS, "file": FILE}.items():
        (tmp_path / f"{name}.script").write_text(text)


async def _until(done: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not done():
            await anyio.sleep(0.005)


def _pid(path: Path) -> int:
    return int(path.read_text() or 0) if path.exists() else 0


async def test_arguments_environment_and_inputs_are_the_steps(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        above = await host.asset("above")
        metadata: Any = {"path": "/in/x y.csv"}
        given = {"key": "b 1", "partition_metadata": metadata, "tags": {"t": "1"}, "inputs": {"above": ref(above)}}
        end = await host.asset("shows", set="keys", partition=1, attempt=2, **given)
        told = host.value(end)
        assert told["argv"] == ["b 1", "/in/x y.csv", f"{end.run_id}.2", "; rm -rf $HOME"]
        assert told["cwd"] == str(tmp_path / "plugins") and told["OWN"] == "yes" and end.metadata == {"n": 3}
        assert (told["FRESHET_RUN"], told["FRESHET_ATTEMPT"], told["FRESHET_STEP"]) == (str(end.run_id), "2", "shows")
        assert told["FRESHET_PARTITION"] == "b 1" and orjson.loads(told["FRESHET_PARTITION_METADATA"]) == metadata
        assert orjson.loads(told["FRESHET_TAGS"]) == {"t": "1"} and told["FRESHET_REPORT"] == "3"
        (line,) = told["inputs"]
        assert line["asset"] == "above" and line["partition"] is None and line["io"] == "json"
        assert orjson.loads(Path(line["path"]).read_bytes()) == [1, 2]
        assert not Path(told["FRESHET_INPUTS"]).exists()


async def test_output_and_reports_are_in_the_journal(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        run = host.launch("says", kind="asset")
        end = await host.end(run)
        assert host.value(end) == [7] and end.version == "v7"
        assert host.texts(run, "stdout") == ["out", "\\xff"] and host.texts(run, "stderr") == ["err"]
        lines = host.journal(run)
        assert [line["fields"] for line in lines if line["stream"] == "progress"] == [{"done": 1.0, "total": 4}]
        logged = [line for line in lines if line["stream"] == "log"]
        assert (logged[0]["level"], logged[0]["message"], logged[0]["fields"]) == ("warning", "hm", {"a": 1})
        assert [line["fields"]["line"] for line in logged[1:]] == [
            "nonsense",
            "[]",
            '{"unknown": 1}',
            '{"metadata": 3}',
        ]
        states = [line["message"] for line in lines if line["stream"] == "state"]
        assert states == ["started", "succeeded"] and lines[0]["message"] == "started"


async def test_a_value_comes_from_a_file_and_is_held_against_format_and_annotation(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        end = await host.asset("written")
        assert end.value is not None and end.value.io == "text"
        assert (host.state_dir / "values" / end.value.path).read_text() == "text"
        for name in ("broken", "wrong"):
            end = await host.asset(name)
            assert end.outcome == "failed" and end.error is not None and end.error.type == "ValueFormatError", end


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("exits", {"code": 3}, "exit status 3"),
        ("exits", {"code": 0}, ""),
        ("exits", {"code": "x"}, "code"),
        ("killed", {}, "killed by SIGKILL"),
        ("missing", {}, "no-such-program cannot be started: No such file"),
    ],
)
async def test_how_it_ends_is_how_the_step_ends(tmp_path: Path, name: str, params: dict[str, Any], said: str) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        given = {"more": ["x", "y"], **params} if name == "exits" else params
        end = await host.run(name, params=given)
        assert end.outcome == ("failed" if said else "succeeded")
        assert end.error is None or said in end.error.message


async def test_what_it_leaves_running_is_ended_and_is_not_waited_for(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        assert (await host.run("leaves")).outcome == "succeeded"
        await _until(lambda: not alive(_pid(tmp_path / "left")))


async def test_cancel_is_sigterm_to_the_program_and_its_last_words_are_kept(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        run, _ = await host.begun("polite")
        await _until(lambda: _pid(tmp_path / "pid") > 0)
        host.host.cancel(run, 0, grace=10)
        assert (await host.end(run)).outcome == "canceled"
        assert host.texts(run, "stdout") == ["bye"]


async def test_a_timeout_ends_it_and_all_below(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as host:
        end = await host.run("slow")
        assert end.outcome == "failed" and end.error is not None and end.error.type == "TimeoutError"
        await _until(lambda: not alive(_pid(tmp_path / "pid")))
