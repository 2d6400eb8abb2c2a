"""The command as a process: no daemon, a wrong configuration, a closed pipe, help, and how long it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tests.http.hand_control import served_in

import freshet
from freshet.cli.app import app, run


def _freshet(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
    return subprocess.run(
        [sys.executable, "-m", "freshet", *argv],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        timeout=60,
        check=False,
    )


def test_without_a_daemon_it_names_the_socket_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "freshet.toml").write_text('state_dir = "state"\nplugins_dir = "p"\n')
    done = _freshet("status", "--config", "freshet.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no daemon answers on the socket {tmp_path}/state/freshet.sock" in done.stderr
    assert "`freshet run` (or `make run`)" in done.stderr
    told = json.loads(_freshet("status", "--config", "freshet.toml", "--json", cwd=tmp_path).stderr)
    assert told["error"]["type"] == "DaemonUnreachable"


def test_without_a_configuration_it_says_where_it_looked(tmp_path: Path) -> None:
    done = _freshet("status", cwd=tmp_path)
    assert done.returncode == 1
    assert "config/freshet.toml" in done.stderr
    assert "--config FILE" in done.stderr


def test_a_wrong_configuration_stops_run_and_check(tmp_path: Path) -> None:
    (tmp_path / "freshet.toml").write_text('state_dir = "s"\nplugins_dir = "p"\n[http]\nprot = 1\n')
    for command in ("run", "check"):
        done = _freshet(command, "--config", "freshet.toml", cwd=tmp_path)
        assert done.returncode == 1
        assert "freshet.toml:4: unknown setting 'http.prot'" in done.stderr
        assert "did you mean 'port'?" in done.stderr


def test_status_is_one_process_that_imports_little(tmp_path: Path) -> None:
    with served_in(tmp_path):
        done = _freshet("status", "--config", "freshet.toml", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "1.2.3  ready" in done.stdout
        code = (
            "import sys; from freshet.cli.app import run; assert run(sys.argv[1:]) == 0;"
            "print([m for m in sys.modules if m.split('.')[0] in"
            " ('fastapi', 'starlette', 'uvicorn', 'aiosqlite', 'pydantic_settings', 'asyncio', 'watchfiles', 'orjson')"
            " and '.' not in m or m.startswith(('freshet.engine', 'freshet.store', 'freshet.executors'))])"
        )
        argv = [sys.executable, "-c", code, "status", "--config", str(tmp_path / "freshet.toml")]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path) -> None:
    with served_in(tmp_path):
        config = tmp_path / "freshet.toml"
        command = f"exec {sys.executable!r} -m freshet assets --config {str(config)!r} | true"
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in done.stderr


COMMANDS = """
run check plugins reload simulate inbox replay status assets sensors runs logs materialize call cancel partitions tick
pause resume cursor cursor,get cursor,set cursor,history
"""


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_and_option_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(","), "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: freshet ")
    assert len(out.split("\n\n")[1].strip()) > 10
    found: Any = typer.main.get_command(app)
    for name in command.split(","):
        found = found.commands[name]
    assert found.params
    assert [one.name for one in found.params if not one.help] == []
    assert {"config", "json", "url"} <= {one.name for one in found.params}


def test_the_release_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"{freshet.__version__}\n"


def test_the_list_of_commands_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    assert all("..." not in line for line in listed), "each summary fits its line"
    names = {line.split()[0] for line in listed}
    registered = {one.name or getattr(one.callback, "__name__", "") for one in app.registered_commands}
    assert names == registered | {"cache", "cursor", "new", "service"}
