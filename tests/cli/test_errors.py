"""What the commands refuse: on stderr, with a remedy, and with the right exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.http.hand_control import served_in

from freshet.cli.app import run


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    with served_in(folder):
        yield str(folder / "freshet.toml")


@pytest.mark.parametrize(
    ("argv", "status", "says", "hint"),
    [
        (["materialize", "sale"], 1, "there is no asset 'sale'", "did you mean 'sales'?"),
        (["materialize", "raw_orders"], 1, "partitioned by 'batches'", "--partition"),
        (["pause", "landin"], 1, "no sensor and no schedule is called 'landin'", "did you mean 'landing'?"),
        (["runs", "99"], 1, "there is no run 99", "freshet runs"),
        (["logs", "99"], 1, "there is no run 99", "freshet runs"),
        (["partitions", "regions", "add", "x"], 1, "static", "plugin"),
        (["partitions", "batches", "add"], 2, "no keys", "KEY..."),
        (["partitions", "batches", "add", "x", "--metadata", "[]"], 2, "--metadata", "--metadata"),
        (["partitions", "batches", "drop", "x"], 2, "drop", "--help"),
        (["tick", "landing", "--cursor", "1"], 2, "--dry-run", "cursor set"),
        (["cursor", "set", "landing", "{"], 2, "not JSON", "quote"),
        (["call", "notify", "--param", "x"], 2, "K=V", "--param order_id=12"),
        (["runs", "--state", "lost"], 2, "lost", "--help"),
        (["nosuch"], 2, "nosuch", "--help"),
        (["status", "--nosuch"], 2, "--nosuch", "--help"),
        (["materialize"], 2, "ASSET", "--help"),
        (["cursor"], 2, "Missing command", "--help"),
    ],
)
def test_errors_go_to_stderr_with_a_hint(
    config: str, capsys: pytest.CaptureFixture[str], argv: list[str], status: int, says: str, hint: str
) -> None:
    assert run(["--config", config, *argv]) == status
    out, err = capsys.readouterr()
    assert out == ""
    error, _, rest = err.partition("\nhint: ")
    assert error.startswith("error: ")
    assert says in error
    assert hint in rest
    assert run(["--config", config, *argv, "--json"]) == status
    told = json.loads(capsys.readouterr().err)["error"]
    assert says in told["message"]
    assert hint in told["hint"]
    assert set(told) == {"type", "message", "hint", "file", "line"}


def test_over_tcp_there_is_no_api_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served_in(tmp_path) as served:
        assert run(["status", "--url", f"http://127.0.0.1:{served.sockets.port}/"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: GET /api/v1/status: Not Found\nhint: the API is on the Unix socket")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:1", "http://[", "ftp://x"])
def test_a_url_where_nobody_answers_is_named(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--url", url]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert url in err
    assert "hint: " in err
