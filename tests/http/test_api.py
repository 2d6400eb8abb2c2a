"""The API through its real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.http.hand_control import Served, served_in

from freshet.http.unixpath import reachable


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with served_in(tmp_path) as found:
        yield found


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with reachable(served.socket) as path:
        transport = httpx.HTTPTransport(uds=path)
        with httpx.Client(transport=transport, base_url="http://x/api/v1/", timeout=20) as client:
            yield client


def test_status(http: httpx.Client) -> None:
    found = http.get("status").json()
    assert (found["state"], found["version"], found["assets"], found["sensors"]) == ("ready", "1.2.3", 4, 2)
    assert found["host"]["evaluators"] == {"shared": 8}
