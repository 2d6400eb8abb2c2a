"""HttpSensor against a real server on loopback."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.sensors.support import BATCHES, NOW, Killed, World
from tests.support.web import Asked, Said, Web, web

from freshet import DefinitionError, FreshetError, RetryLater
from freshet_sensors import HttpSensor

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as page:
        yield page


@asynccontextmanager
async def asking(url: str, **options: Any) -> AsyncGenerator[HttpSensor]:
    given: dict[str, Any] = {"target": "load", **options}
    sensor = HttpSensor("feed", url=url, **given)
    await sensor.open()
    try:
        yield sensor
    finally:
        await sensor.close()


def conditional(body: bytes, etag: str, modified: str | None = None) -> Any:
    """A server that knows of If-None-Match and If-Modified-Since."""

    def answer(asked: Asked) -> Said:
        headers = {"ETag": etag} | ({} if modified is None else {"Last-Modified": modified})
        if asked.headers.get("if-none-match") == etag:
            return Said(304, headers=headers)
        return Said(200, body, headers)

    return answer


def always(said: Said) -> Callable[[Asked], Said]:
    return lambda _: said


def listing(*ids: object) -> Said:
    return Said(body=orjson.dumps({"data": {"items": [{"id": one, "n": f"name {one}"} for one in ids]}}))


# --- the whole ---------------------------------------------------------------------------------------------


async def test_each_new_state_is_one_run(server: Web) -> None:
    world = World()
    async with asking(server.url + "/a") as sensor:
        for etag in ('"1"', '"1"', 'W/"2"', '"2b"'):
            server.answer = conditional(etag.encode(), etag, "Sat, 21 Nov 2026 08:00:00 GMT")
            await world.tick(sensor)
    assert world.item_keys == [f"{server.url}/a@{version}" for version in ("1", "2", "2b")]
    assert server.asked[1].headers["if-none-match"] == '"1"'
    assert server.asked[1].headers["if-modified-since"] == "Sat, 21 Nov 2026 08:00:00 GMT"


async def test_a_state_that_comes_back_runs_again(server: Web) -> None:
    world = World()
    async with asking(server.url) as sensor:
        for body in (b"A", b"B", b"A", b"A", b"B"):
            server.answer = always(Said(body=body))
            await world.tick(sensor)
    assert len(world.item_keys) == len(set(world.item_keys)) == 4
    assert [key.endswith(("#3", "#4")) for key in world.item_keys] == [False, False, True, True]


async def test_another_etag_for_the_same_body_is_no_news(server: Web) -> None:
    """Each replica may have an ETag of its own."""
    world = World()
    async with asking(server.url) as sensor:
        for etag in ('"1"', '"2"', '"1"'):
            server.answer = always(Said(body=b"same", headers={"ETag": etag}))
            await world.tick(sensor)
    assert len(world.runs) == 1


async def test_a_lost_commit_asks_anew(server: Web) -> None:
    world = World()
    server.answer = conditional(b"x", '"1"')
    async with asking(server.url) as sensor:
        with pytest.raises(Killed):
            await world.tick(sensor, kill_after=0)
        assert world.runs == []
        await world.tick(sensor)
    assert len(world.runs) == 1
    assert "if-none-match" not in server.asked[1].headers


async def test_head_reads_no_body(server: Web) -> None:
    world = World()
    server.answer = lambda _: Said(body=b"x" * 100, headers={"ETag": '"1"'})
    async with asking(server.url, method="HEAD", max_body=1) as sensor:
        await world.tick(sensor)
        await world.tick(sensor)
        assert [asked.method for asked in server.asked] == ["HEAD", "HEAD"]
        assert len(world.runs) == 1
        server.answer = lambda _: Said()
        with pytest.raises(FreshetError, match="neither ETag nor Last-Modified"):
            await world.tick(sensor)


# --- a value -----------------------------------------------------------------------------------------------


async def test_a_value_counts_when_it_is_larger_or_another(server: Web) -> None:
    world = World()
    async with asking(server.url, cursor="/v/0") as sensor:
        for value in (41, 42, 41, 42, 43, "a", "b", "b"):
            server.answer = always(Said(body=orjson.dumps({"v": [value]})))
            await world.tick(sensor)
    assert world.item_keys == [f"{server.url}@{value}" for value in (41, 42, 43, "a", "b")]
    assert [line[1] for line in world.log.lines] == [
        "a smaller number is passed over",
        *["over: a smaller number is passed over"],
    ]


async def test_a_value_may_be_a_partition(server: Web) -> None:
    world = World()
    server.answer = lambda _: Said(body=b'{"day": "2026-11-21"}')
    async with asking(server.url, cursor="/day", partitions=BATCHES) as sensor:
        await world.tick(sensor)
    assert world.partitions == {"2026-11-21": {"url": server.url, "value": "2026-11-21"}}
    assert world.runs[0].partition == "2026-11-21"


@pytest.mark.parametrize(
    ("body", "error"),
    [(b'{"w": 1}', r"nothing stands at /v .found there: w"), (b"<p>", "no JSON"), (b'{"v": null}', "is empty")],
)
async def test_a_value_that_is_not_there_is_told(server: Web, body: bytes, error: str) -> None:
    server.answer = lambda _: Said(body=body)
    async with asking(server.url, cursor="/v") as sensor:
        with pytest.raises(FreshetError, match=error):
            await World().tick(sensor)


@pytest.mark.parametrize("place", ["-1", "01", "1"])
async def test_places_in_a_list_count_from_0(server: Web, place: str) -> None:
    server.answer = lambda _: Said(body=b'{"v": [7]}')
    async with asking(server.url, cursor=f"/v/{place}") as sensor:
        with pytest.raises(FreshetError, match=f"nothing stands at /v/{place}"):
            await World().tick(sensor)


# --- items -------------------------------------------------------------------------------------------------


async def test_each_item_is_admitted_once(server: Web) -> None:
    world = World()
    async with asking(server.url, items="/data/items", partitions=BATCHES) as sensor:
        for ids in ((1, 2), (2, 3, 3), (1,), (4, 1)):
            server.answer = always(listing(*ids))
            await world.tick(sensor)
    assert world.item_keys == ["1", "2", "3", "4"]
    assert world.partitions["3"] == {"id": 3, "n": "name 3"}


async def test_items_of_a_long_list_are_committed_piece_by_piece(server: Web) -> None:
    """What was cut off is found again: the ETag counts only when all that came with it is committed."""
    world = World()

    def answer(asked: Asked) -> Said:
        if asked.headers.get("if-none-match"):
            return Said(304)
        return Said(body=listing(*range(1000)).body, headers={"ETag": '"1"'}).zipped()

    server.answer = answer
    async with asking(server.url, items="/data/items", params=["n"], key="order {id}") as sensor:
        with pytest.raises(Killed):
            await world.tick(sensor, kill_after=2)
        assert len(world.runs) == 500
        await world.tick(sensor)
        await world.tick(sensor)
    assert world.item_keys == [f"order {n}" for n in range(1000)]
    assert world.runs[7].params == {"n": "name 7"}
    assert len(server.asked) == 3


async def test_another_definition_reads_what_this_one_has_read(server: Web) -> None:
    world = World()
    server.answer = conditional(orjson.dumps({"a": ["x"], "b": ["y"]}), '"1"')
    for items in ("/a", "/b"):
        async with asking(server.url, items=items, key="{item}") as sensor:
            await world.tick(sensor)
    assert world.item_keys == ["x", "y"]


async def test_items_without_a_key_are_passed_over_and_told_once(server: Web) -> None:
    world = World()
    server.answer = lambda _: Said(body=b'[{"id": 1}, {"id": null}, {"x": 1}, {"id": [1]}, {"id": 2}]')
    async with asking(server.url, items="") as sensor:
        await world.tick(sensor)
        await world.tick(sensor)
    assert world.item_keys == ["1", "2"]
    assert len(world.log.lines) == 1


@pytest.mark.parametrize("behind", [b"", b"\0\0\0"])
async def test_an_answer_zipped_in_parts_is_read_whole(server: Web, behind: bytes) -> None:
    world = World()
    body = b"".join(Said(body=part).zipped().body for part in (b"[1,", b"", b" 2]")) + behind
    server.answer = always(Said(200, body, {"Content-Encoding": "gzip"}))
    async with asking(server.url, items="", key="{item}") as sensor:
        await world.tick(sensor)
    assert world.item_keys == ["1", "2"]


# --- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "after"),
    [
        (Said(429, headers={"Retry-After": "7"}), 7.0),
        (Said(503, headers={"Retry-After": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}), 90.0),
        (Said(503, headers={"Retry-After": "9" * 30}), 86_400.0),
        (Said(429), 30.0),
        (Said(503, headers={"Retry-After": "soon"}), 30.0),
    ],
)
async def test_a_server_that_asks_for_patience_gets_it(server: Web, said: Said, after: float) -> None:
    server.answer = lambda _: said
    async with asking(server.url) as sensor:
        with pytest.raises(RetryLater) as caught:
            await World().tick(sensor)
    assert caught.value.after == after


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (Said(401), r"answers 401 Unauthorized .*env:NAME"),
        (Said(404), r"answers 404 Not Found .is url= right"),
        (Said(418), "answers 418"),
        (Said(500), r"answers 500 .*has to be mended"),
        (Said(body=b"x" * 100, cut=50), "RemoteProtocolError"),
        (Said(body=b"x" * 5000), r"more than 1000 bytes .*max_body="),
        (Said(body=b"\0" * 5_000_000).zipped(), r"more than 1000 bytes"),
        (Said(200, Said(body=b"x" * 500).zipped().body[:20], {"Content-Encoding": "gzip"}), "cut off"),
        (Said(200, b"no gzip", {"Content-Encoding": "gzip"}), "127.0.0.1:.*: its gzip cannot be unpacked"),
        (Said(body=b"x", headers={"Content-Encoding": "br"}), "Content-Encoding br"),
        (Said(302, headers={"Location": "/again"}), "over 5 redirects"),
        (Said(after=60), "no whole answer within 0.45 s"),
        (Said(body=b"x" * 500, drip=0.05), "no whole answer within 0.45 s"),
    ],
    ids=lambda value: None,
)
async def test_what_is_no_answer_is_told_and_nothing_advances(server: Web, said: Said, error: str) -> None:
    server.answer = lambda _: said
    world = World()
    async with asking(server.url, max_body=1000, timeout="500ms") as sensor:
        with pytest.raises(FreshetError, match=error):
            await world.tick(sensor)
        assert world.commits == 0
        server.answer = lambda _: Said(body=b"well")
        await world.tick(sensor)
    assert len(world.runs) == 1


async def test_nobody_there_is_told() -> None:
    with web() as gone:
        pass
    async with asking(gone.url) as sensor:
        with pytest.raises(FreshetError, match=r"ConnectError.*can this machine reach it"):
            await World().tick(sensor)


async def test_a_redirect_elsewhere_gets_no_secrets(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEED_TOKEN", "s3cret")
    with web() as other:
        other.answer = lambda _: Said(body=b"x")
        server.answer = lambda asked: Said(302, headers={"Location": "/b" if asked.path == "/" else other.url})
        async with asking(
            server.url, headers={"X-Key": "env:FEED_TOKEN", "Authorization": "Bearer env:FEED_TOKEN"}
        ) as sensor:
            await World().tick(sensor)
        assert "s3cret" not in str(sensor.spec)
    assert [asked.headers.get("x-key") for asked in server.asked] == ["s3cret", "s3cret"]
    assert server.asked[1].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in str(other.asked[0].headers)


async def test_a_secret_may_end_in_a_line_end(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEED_TOKEN", "hunter2\n")
    server.answer = always(Said(body=b"x"))
    async with asking(server.url, headers={"Authorization": "Bearer env:FEED_TOKEN"}) as sensor:
        await World().tick(sensor)
    assert server.asked[0].headers["authorization"] == "Bearer hunter2"


@pytest.mark.parametrize("held", ["hunter2\nX: 1", "hunter2\t", "hünter2", "hunter2\x7f"])
async def test_a_secret_that_no_header_can_hold_is_not_shown(
    server: Web, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    monkeypatch.setenv("FEED_TOKEN", f"a{held}b")
    async with asking(server.url, headers={"X-Key": "env:FEED_TOKEN"}) as sensor:
        with pytest.raises(FreshetError, match="the value of the header X-Key") as error:
            await World().tick(sensor)
    assert "unter2" not in str(error.value)
    assert server.asked == []


async def test_a_query_is_kept_in_no_run_key_and_tells_one_address_from_another(server: Web) -> None:
    server.answer = always(Said(body=b"x", headers={"ETag": '"1"'}))
    keys: list[str] = []
    for query in ("?token=hunter2", "?token=hunter3", ""):
        world = World()
        async with asking(f"{server.url}/a{query}") as sensor:
            await world.tick(sensor)
        keys += world.item_keys
    assert len(set(keys)) == 3
    assert keys[2] == f"{server.url}/a@1"
    assert not any("hunter" in key for key in keys)


async def test_a_secret_that_is_missing_is_named(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEED_TOKEN", raising=False)
    async with asking(server.url, headers={"X-Key": "env:FEED_TOKEN"}) as sensor:
        with pytest.raises(FreshetError, match="the environment has no FEED_TOKEN"):
            await World().tick(sensor)
    assert server.asked == []


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """One that nobody trusts, and its key."""
    files = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", "req", *made, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


async def test_tls_errors_are_told(certificate: tuple[str, str], server: Web) -> None:
    with web(certificate=certificate) as secure:
        async with asking(secure.url) as sensor:
            with pytest.raises(FreshetError, match=r"certificate is not trusted: self.signed.*SSL_CERT_FILE"):
                await World().tick(sensor)
    async with asking(server.url.replace("http:", "https:")) as sensor:
        with pytest.raises(FreshetError, match=r"no TLS: .*at this port"):
            await World().tick(sensor)


async def test_it_follows_from_a_trusted_server_but_not_into_the_clear(
    certificate: tuple[str, str], server: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
    world = World()
    with web(certificate=certificate) as secure:
        secure.answer = always(Said(body=b"x"))
        async with asking(secure.url) as sensor:
            await world.tick(sensor)
            secure.answer = always(Said(307, headers={"Location": server.url}))
            with pytest.raises(FreshetError, match="in the clear"):
                await world.tick(sensor)
    assert len(world.runs) == 1
    assert server.asked == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"url": "example.org"}, "is no address"),
        ({"url": "https://me:secret@example.org"}, "credentials stand in url="),
        ({"cursor": "/a", "items": "/b"}, "both cursor= and items="),
        ({"cursor": "a.b"}, 'write "/a/b"'),
        ({"key": "{id}"}, "are about items"),
        ({"items": "", "key": "fixed"}, "names no field"),
        ({"items": "", "key": "{a.b}"}, "no plain field"),
        ({"items": "", "params": "id"}, "params=.*is a text"),
        ({"partitions": BATCHES}, "nothing says which partition"),
        ({"target": None}, "neither partitions nor target"),
        ({"method": "HEAD", "cursor": "/a"}, "HEAD brings no body"),
        ({"method": "PUT"}, "unknown"),
        ({"headers": {"a b": "c"}}, "no header's name"),
        ({"max_body": 0}, "max_body=0"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], error: str) -> None:
    given: dict[str, Any] = {"url": "https://example.org", "target": "load", **options}
    with pytest.raises(DefinitionError, match=error):
        HttpSensor("feed", **given)
