"""The servers' life: sockets first, the API once the engine is ready, and an end in good order."""

from __future__ import annotations

import asyncio
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter
from tests.http.hand_control import Served, served_in

from freshet.cli.client import Client
from freshet.configuration import Settings, load_settings
from freshet.errors import DaemonUnreachable, SettingsError
from freshet.http.api.app import create_api
from freshet.http.sockets import bind
from freshet.http.unixpath import reachable


def _settings(folder: Path, http: str) -> Settings:
    config = folder / "freshet.toml"
    config.write_text(f'state_dir = "state"\nplugins_dir = "."\n[http]\n{http}\n')
    return load_settings(config)


def _get(served: Served, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{served.sockets.port}{path}", timeout=60)


def test_health_is_answered_before_the_engine_is_ready(tmp_path: Path) -> None:
    with served_in(tmp_path, at_once=False) as served:
        served.control.state = "starting"
        assert _get(served, "/healthz").json() == {"status": "ok", "state": "starting", "problem": None, "stuck": []}
        assert (_get(served, "/readyz").status_code, _get(served, "/readyz").json()["ready"]) == (503, False)
        with Client(served.socket) as client:
            asked = served.soon(_in_thread, client)
            assert not asked.done()
            served.control.state = "ready"
            served.portal.call(served.ready.set)
            assert asked.result(timeout=60) == "ready"
        assert _get(served, "/readyz").status_code == 200


async def _in_thread(client: Client) -> str:
    from anyio import to_thread

    return (await to_thread.run_sync(client.status)).state


def test_health_tells_a_problem_from_a_stuck_loop(tmp_path: Path) -> None:
    with served_in(tmp_path) as served:
        served.control.problem = "the disk is full"
        assert (_get(served, "/healthz").status_code, _get(served, "/healthz").json()["status"]) == (200, "degraded")
        assert _get(served, "/readyz").status_code == 503
        served.control.loops = {"automation": 31.0, "resting": None, "busy": 0.1}
        assert (_get(served, "/healthz").status_code, _get(served, "/healthz").json()["stuck"]) == (503, ["automation"])


def test_the_first_request_finds_all_routes_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def built(*args: Any, **options: Any) -> None:
        pytest.fail("a route was built while the loop waited")

    with served_in(tmp_path) as served:
        with Client(served.socket) as client:
            client.status()
        app = create_api(served.control, served.settings.state_dir, anyio.Event())
        monkeypatch.setattr(TypeAdapter, "__init__", built)
        assert asyncio.run(_ask(app)) == 404


async def _ask(app: FastAPI) -> int:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        return (await client.get("/api/v1/partitions/nothing/at/all")).status_code


@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/api/v1/runs", "/openapi.json", "/docs"])
def test_tcp_serves_health_alone(tmp_path: Path, path: str) -> None:
    with served_in(tmp_path) as served:
        answer = _get(served, path)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "NotFound"
    assert path in answer.json()["error"]["message"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_a_hook_that_is_not_there_is_refused_as_a_bad_signature_is(tmp_path: Path, method: str) -> None:
    with served_in(tmp_path) as served:
        url = f"http://127.0.0.1:{served.sockets.port}/hooks/orders/new"
        answer = httpx.request(method, url, content=b"{}", timeout=60)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "Unauthorized"


def test_the_signals_stay_with_the_daemon(tmp_path: Path) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with served_in(tmp_path) as served:
        assert _get(served, "/healthz").status_code == 200
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_unix_socket_is_for_its_owner_and_goes_away(tmp_path: Path) -> None:
    with served_in(tmp_path) as served:
        path = served.socket
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        port = served.sockets.port
        with Client(path) as client:
            client.status()
    assert not path.exists()
    with Client(path) as client, pytest.raises(DaemonUnreachable, match=r"freshet\.sock"):
        client.status()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")


@pytest.mark.parametrize("length", [99, 200])
def test_a_long_state_path_with_a_blank_works(tmp_path: Path, length: int) -> None:
    state = tmp_path / "with a blank" / ("x" * max(1, length - len(str(tmp_path)) - 14))
    assert len(str(state / "freshet.sock")) >= length
    with served_in(tmp_path, state=state) as served:
        assert served.socket == state / "freshet.sock"
        with Client(served.socket) as client:
            assert client.status().state == "ready"
            assert client.status().state == "ready"
    assert not served.socket.exists()


def test_a_short_path_is_left_as_it_is(tmp_path: Path) -> None:
    with reachable(Path("/run/freshet.sock")) as path:
        assert path == "/run/freshet.sock"


def test_a_port_in_use_names_the_key_and_the_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"http\.port: 127\.0\.0\.1:{port} is in use") as error:
            bind(_settings(tmp_path, f"port = {port}"))
    assert "FRESHET_HTTP__PORT" in error.value.hint
    assert not (tmp_path / "state" / "freshet.sock").exists()


def test_a_host_that_is_none_names_the_key(tmp_path: Path) -> None:
    for host in ("no such host", "192.0.2.1"):
        with pytest.raises(SettingsError, match=r"http\.host: ") as error:
            bind(_settings(tmp_path, f'host = "{host}"\nport = 0'))
        assert "FRESHET_HTTP__HOST" in error.value.hint


def test_a_stale_socket_in_the_state_directory_is_replaced(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "port = 0")
    settings.state_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(settings.socket_path))
    bound = bind(settings)
    bound.close()
    assert not settings.socket_path.exists()


def test_a_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    settings = _settings(tmp_path, 'port = 0\nsocket = "precious"')
    settings.socket_path.write_text("mine")
    with pytest.raises(SettingsError, match="exists and is no socket"):
        bind(settings)
    assert settings.socket_path.read_text() == "mine"


def test_a_socket_elsewhere_is_not_taken_from_who_answers_on_it(tmp_path: Path) -> None:
    settings = _settings(tmp_path, 'port = 0\nsocket = "other.sock"')
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(settings.socket_path))
        other.listen()
        with pytest.raises(SettingsError, match="in use by another program"):
            bind(settings)
    bind(settings).close()


def test_closing_leaves_a_successors_socket_alone(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "port = 0")
    first, second = bind(settings), bind(settings)
    first.close()
    assert settings.socket_path.exists()
    second.close()
    assert not settings.socket_path.exists()
