from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.errors import HostError
from freshet.host.frames import MAX_FRAME, FrameDecoder, decode, encode, wrap

plain: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.lists(plain, max_size=6), st.data())
def test_messages_come_out_as_they_went_in_however_they_are_cut(messages: list[Any], data: st.DataObject) -> None:
    stream = b"".join(map(encode, messages))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    decoder, found = FrameDecoder(), list[Any]()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += [decode(payload) for payload in decoder.feed(stream[start:end])]
    assert found == messages
    assert decoder.pending == 0


def test_a_frame_that_is_cut_off_shows() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(encode({"a": 1})[:-1]) == []
    assert decoder.pending > 0


def test_too_long_a_frame_is_refused_on_both_sides() -> None:
    with pytest.raises(HostError, match="over the limit of 67,108,864"):
        wrap(b" " * (MAX_FRAME + 1))
    decoder = FrameDecoder(limit=10)
    assert decoder.feed(wrap(b"0123456789")) == [b"0123456789"]
    with pytest.raises(HostError, match="announces 11 bytes"):
        decoder.feed(b"\0\0\0\x0b")
    decoder = FrameDecoder(limit=10)
    assert decoder.feed(wrap(b"1") + wrap(b"2") + b"\0\0\0\x0b") == [b"1", b"2"], "what came before counts"
    with pytest.raises(HostError, match="announces 11 bytes"):
        decoder.feed(b"")


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(HostError, match="not JSON"):
        decode(b"\x80\x04pickle")
