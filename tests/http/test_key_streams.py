"""Keys that stream in, one a line: read in any chunks, refused by the line, all or none."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.hand_control import Served, served_in

from freshet.definitions.names import check_key
from freshet.errors import FreshetError, PartitionKeyError, ValueFormatError
from freshet.http.api.keylines import LINE_MAX, KeyLines
from freshet.http.unixpath import reachable

NDJSON = "application/x-ndjson"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with served_in(tmp_path) as found:
        yield found


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with reachable(served.socket) as path:
        transport = httpx.HTTPTransport(uds=path)
        with httpx.Client(transport=transport, base_url="http://x/api/v1/", timeout=60) as client:
            yield client


def keys_of(http: httpx.Client) -> dict[str, Any]:
    page = http.get("partitions/batches", params={"limit": 1000}).json()
    return {one["key"]: one["metadata"] for one in page["partitions"]}


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("text/plain", "a\r\nb c\n\né"),
        ("text/plain; charset=utf-8", "a\nb c\né\n"),
        (NDJSON, '"a"\n\n{"key": "b c"}\n{"key": "\\u00e9", "metadata": {}}'),
    ],
)
def test_keys_are_added_and_deleted_a_line_each(http: httpx.Client, form: str, body: str) -> None:
    headers = {"content-type": form}
    answer = http.post("partitions/batches", content=body.encode(), headers=headers)
    assert (answer.status_code, answer.json()["changed"]) == (200, 3)
    assert keys_of(http) == {"a": {}, "b c": {}, "é": {}}
    gone = http.request("DELETE", "partitions/batches", content=body.encode(), headers=headers)
    assert (gone.json()["changed"], keys_of(http)) == (3, {})


def test_metadata_streams_in_with_its_key(http: httpx.Client) -> None:
    lines = (f'{{"key": "k{n}", "metadata": {{"n": {n}}}}}\n'.encode() for n in range(500))
    answer = http.post("partitions/batches", content=lines, headers={"content-type": NDJSON})
    assert answer.json()["changed"] == 500
    assert keys_of(http)["k499"] == {"n": 499}


@pytest.mark.parametrize(
    ("form", "body", "kind", "says"),
    [
        ("text/plain", b"a\n\n.b\n", "PartitionKeyError", "line 3: the partition key '.b' begins with a dot"),
        ("text/plain", b"a\nb\xff\n", "PartitionKeyError", "line 2: the key is not UTF-8"),
        ("text/plain", b"a\n" + b"x" * 201, "PartitionKeyError", "line 2"),
        (NDJSON, b'"a"\n{"key": 1}\n', "ValueFormatError", "line 2: this is no key"),
        (NDJSON, b'"a"\n{"key": "b", "meta": {}}\n', "ValueFormatError", "line 2: this is no key"),
        (NDJSON, b'"a", "b"\n', "ValueFormatError", "line 1"),
        (NDJSON, b'"a"\n"b\\n"', "PartitionKeyError", "line 2: the partition key 'b\\n' holds the control character"),
        (NDJSON, b'"a"\n{"key": "b", "metadata": {"x": NaN}}', "ValueFormatError", "line 2"),
        (NDJSON, b'"a"\n{"key": "' + b"b" * LINE_MAX, "ValueFormatError", "line 2 is longer than"),
        ("text/csv", b"a\n", "ValueFormatError", "'text/csv' is not understood"),
        ("application/json", b'{"keys": {"' + b"k" * (1 << 20) + b'": {}}}', "ValueFormatError", "x-ndjson"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_holds(
    http: httpx.Client, form: str, body: bytes, kind: str, says: str
) -> None:
    answer = http.post("partitions/batches", content=body, headers={"content-type": form})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, kind)
    assert says in f"{error['message']} {error['hint']}"
    assert error["hint"]
    assert keys_of(http) == {}


def test_who_goes_away_before_the_end_leaves_nothing(served: Served, http: httpx.Client) -> None:
    with socket.socket(socket.AF_UNIX) as raw, reachable(served.socket) as path:
        raw.connect(path)
        head = f"POST /api/v1/partitions/batches HTTP/1.1\r\nHost: x\r\nContent-Type: {NDJSON}\r\n"
        raw.sendall(f'{head}Content-Length: 99\r\n\r\n"a"\n"b"\n'.encode())
    answer = http.post("partitions/batches", content=b'"c"\n', headers={"content-type": NDJSON})
    assert answer.json()["changed"] == 1
    assert keys_of(http) == {"c": {}}
    assert http.get("status").status_code == 200


_TEXTS = st.text(st.sampled_from('ab.é\u0301\x01\x7f\x85 {"\\'), max_size=4) | st.sampled_from(["x" * 200, "x" * 201])


@given(
    st.lists(_TEXTS), st.lists(st.integers(0, 60)), st.sampled_from(["text", "ndjson"]), st.tuples(*[st.booleans()] * 3)
)
def test_any_chunks_give_what_the_lines_say(
    texts: list[str], cuts: list[int], form: Literal["text", "ndjson"], how: tuple[bool, bool, bool]
) -> None:
    ends, returns, escapes = how
    lines = [text if form == "text" else json.dumps(text, ensure_ascii=escapes) for text in texts]
    newline = "\r\n" if returns else "\n"
    body = (newline.join(lines) + (newline if ends else "")).encode()
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    chunks = [body[start:end] for start, end in pairwise(places)]
    expected: list[str] | None
    try:
        expected = [check_key(text) for text in texts if text or form == "ndjson"]
    except PartitionKeyError:
        expected = None
    reader = KeyLines(form)
    try:
        found = [key for chunk in chunks for key, _ in reader.feed(chunk)] + [key for key, _ in reader.end()]
    except FreshetError as error:
        assert isinstance(error, (PartitionKeyError, ValueFormatError))
        assert expected is None
    else:
        assert found == expected


@given(st.lists(st.text(st.sampled_from('"a\n\r \\[],'), max_size=12).map(str.encode), max_size=4))
def test_only_lines_that_are_a_json_string_each_are_read_as_that(chunks: list[bytes]) -> None:
    lines = [line.strip(b"\r") for line in b"".join(chunks).split(b"\n")]
    expected: list[str] | None
    try:
        expected = [check_key(json.loads(line)) for line in lines if line]
    except (FreshetError, ValueError, AttributeError, TypeError):
        expected = None
    reader = KeyLines("ndjson")
    try:
        found = [key for chunk in chunks for key, _ in reader.feed(chunk)] + [key for key, _ in reader.end()]
    except FreshetError:
        found = None
    assert found == expected
