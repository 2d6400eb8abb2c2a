from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from freshet.host.channel import Channel
from freshet.host.frames import decode, encode

Pair = tuple[Channel, Channel, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair()
    ends = Channel(left), Channel(right)
    yield *ends, right
    for end in ends:
        end.close()


def test_more_than_the_kernel_holds_waits_and_arrives(pair: Pair) -> None:
    sender, receiver, _ = pair
    sender.send(encode("x" * 5_000_000))
    sender.send(encode("then"))
    waited = sender.wants_write
    found: list[bytes] = []
    while len(found) < 2:
        found += receiver.read()
        sender.flush()
    assert (waited, sender.wants_write) == (True, False)
    assert [len(decode(found[0])), decode(found[1])] == [5_000_000, "then"]


def test_descriptors_travel_with_their_frame(pair: Pair) -> None:
    sender, _, raw = pair
    read_end, write_end = os.pipe()
    sender.send(encode("before"))
    sender.send(encode("with"), (write_end,))
    os.close(write_end)
    received, fds = b"", list[int]()
    while not received.endswith(encode("with")):
        data, some, _, _ = socket.recv_fds(raw, 100, 4)
        received, fds = received + data, [*fds, *some]
    assert received == encode("before") + encode("with")
    os.write(fds[0], b"through")
    assert os.read(read_end, 10) == b"through"
    for fd in (read_end, *fds):
        os.close(fd)


def test_the_end_of_the_peer_shows_on_reading_only(pair: Pair) -> None:
    sender, receiver, _ = pair
    receiver.send(encode("last words"))
    receiver.close()
    sender.send(encode("too late"))
    found: list[bytes] = []
    while not sender.ended:
        found += sender.read()
    assert [decode(payload) for payload in found] == ["last words"]
