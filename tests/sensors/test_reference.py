"""Secrets that stand elsewhere: wherever a reference may stand, all kinds of them may."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sensors.support import World
from tests.support.web import Said, web

from freshet import FreshetError
from freshet_sensors import HttpSensor, SqlSensor
from freshet_sensors.reference import filled, names_file, names_secret, read


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "token").write_text("in-file\r\n")
    (tmp_path / "my-token.1").write_text("in-cred\n")
    (tmp_path / "none").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("TOKEN", "in-env\n")
    return tmp_path


def test_all_kinds_are_read_at_the_beginning_and_after_a_blank(places: Path) -> None:
    assert filled(f"Bearer file:{places}/token", what="h") == "Bearer in-file"
    assert filled("cred:my-token.1", what="h") == "in-cred"
    assert filled("Basic env:TOKEN cred:my-token.1", what="h") == "Basic in-env in-cred"
    assert [read(one, what="h") for one in ("env:TOKEN", f"file:{places}/token")] == ["in-env", "in-file"]
    assert (names_secret("Bearer cred:x"), names_secret("myenv:X"), names_secret("https://h/file:x")) == (
        True,
        False,
        False,
    )
    assert (names_file("env:TOKEN"), names_file("Bearer file:/x")) == (False, True)


def test_a_file_is_read_as_it_is_then(places: Path) -> None:
    assert filled("cred:token", what="h") == "in-file"
    (places / "token").write_text("rotated")
    assert filled("cred:token", what="h") == "rotated"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("env:NOT_THERE", "h: the environment has no NOT_THERE"),
        ("cred:nothing", "nothing cannot be read: No such file"),
        ("cred:none", "none is empty"),
        ("cred:binary", "binary cannot be read: it is no text"),
        ("file:/", "/ cannot be read: Is a directory"),
    ],
)
@pytest.mark.usefixtures("places")
def test_what_is_not_there_is_said(reference: str, says: str) -> None:
    with pytest.raises(FreshetError, match=says) as raised:
        filled(f"Bearer {reference}", what="h")
    assert raised.value.hint


def test_without_systemd_there_are_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(FreshetError, match="no systemd credentials") as raised:
        read("cred:token", what="h")
    assert "LoadCredential=token" in str(raised.value.hint)


@given(st.text(alphabet="aB:/ .env", max_size=30).filter(lambda text: not names_secret(text)))
def test_what_names_nothing_stays_as_it_is(text: str) -> None:
    assert filled(text, what="h") == text


@pytest.mark.anyio
async def test_a_header_and_the_address_of_a_database_may_stand_in_files(places: Path) -> None:
    headers = {"Authorization": "Bearer cred:my-token.1", "X-Key": f"file:{places}/token", "X-Env": "env:TOKEN"}
    with web() as server:
        server.answer = lambda _: Said(body=b"x")
        asks = HttpSensor("asks", url=server.url, target="load", headers=headers)
        await World().tick(asks)
        await asks.close()
        (asked,) = server.asked
    assert [asked.headers[name] for name in ("authorization", "x-key", "x-env")] == [
        "Bearer in-cred",
        "in-file",
        "in-env",
    ]
    with closing(sqlite3.connect(places / "orders.db")) as db:
        db.executescript("CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1), (2)")
    (places / "address").write_text(f"sqlite:///{places}/orders.db\n")
    query = "SELECT id FROM orders WHERE id > :cursor ORDER BY id"
    for url in ("cred:address", f"file:{places}/address"):
        world = World()
        await world.tick(SqlSensor("reads", url=url, query=query, target="load"))
        assert len(world.item_keys) == 2
