"""The journal over the API: whole lines, from the end, and while they are written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.hand_control import Served, served_in

from freshet.cli.client import Client
from freshet.errors import UnknownName
from freshet.http.api.journal import start_of_tail
from freshet.http.models import CallBody


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with served_in(tmp_path) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.socket) as found:
        yield found


def _journal(served: Served, run: int) -> Path:
    path = served.settings.state_dir / "runs" / str(run) / "journal.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _call(client: Client) -> int:
    return client.call("notify", CallBody(params={"order_id": 1})).runs[0]


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_a_run_that_wrote_nothing_has_no_lines(client: Client) -> None:
    assert list(client.journal(_call(client))) == []


def test_lines_come_whole_or_as_the_last_ones(served: Served, client: Client) -> None:
    run = _call(client)
    _append(_journal(served, run), "".join(f'{{"n": {n}}}\n' for n in range(30_000)))
    assert [json.loads(line)["n"] for line in client.journal(run)] == list(range(30_000))
    assert [json.loads(line)["n"] for line in client.journal(run, tail=3)] == [29_997, 29_998, 29_999]
    assert list(client.journal(run, tail=0)) == []


def test_following_ends_with_the_run_and_misses_nothing(served: Served, client: Client) -> None:
    run = _call(client)
    path = _journal(served, run)
    lines = client.journal(run, follow=True)
    _append(path, '{"n": 1}\n{"n": ')
    assert next(lines) == b'{"n": 1}'
    _append(path, "2}\n")
    assert next(lines) == b'{"n": 2}'
    _append(path, '{"n": 3}\n{"cut')
    served.call(served.control.end, run)
    assert list(lines) == [b'{"n": 3}', b'{"cut']


def test_following_an_unknown_run_is_an_error(client: Client) -> None:
    with pytest.raises(UnknownName, match="there is no run 7"):
        list(client.journal(7, follow=True))


def test_a_follower_does_not_hold_up_the_end_of_the_server(tmp_path: Path) -> None:
    with served_in(tmp_path) as served, Client(served.socket) as client:
        run = _call(client)
        _append(_journal(served, run), '{"n": 1}\n')
        lines = client.journal(run, follow=True)
        assert next(lines) == b'{"n": 1}'
        served.stop()
        assert list(lines) == []


@given(st.lists(st.text(alphabet="ab", max_size=5), max_size=8), st.text(alphabet="a", max_size=3), st.integers(0, 10))
def test_a_tail_is_the_end_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], rest: str, count: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "tail.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines) + rest)
    every = [*lines, *([rest] if rest else [])]
    tail = path.read_text()[start_of_tail(path, count) :]
    assert tail.splitlines() == every[len(every) - min(count, len(every)) :]
