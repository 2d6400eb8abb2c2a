"""What daemon and evaluator say to each other: JSON lists whose first item names the message.

    daemon -> evaluator
        open      [[number, sensor], ...], watching     hold these sensors; the number marks their background work
        tick      id, sensor, cursor, ledger_revision, hints, now, timeout, dry_run
        committed tick, committed, ledger_revision, next_tick
        cancel    tick
        ledger    sensor, revision, records, last, first     a piece of the ledger asked for by `load`
        inbox     request, [[number, id, content_type, headers, attempts, received_at, body, complete], ...], more
                  a piece of the answer to `inbox`: bodies in base64, in as many entries as they need; `more` is None
                  until the last piece; None for the entries: it failed
        events    request, [[seq, at, type, asset, partition, run, data, live], ...], seq, last
                  a piece of the answer to `events`; `seq` and `last` are None until the last; None for the events: it
                  failed
        texts     request, digests, [key, ...], last    a piece of the answer to `texts`; None for the keys: it failed
        ping      number
        watch     active                                run the sensors' `wakes()`, or end them
        close                                           `close()` of the sensors, then exit

    evaluator -> daemon
        hello     ident of the loop's thread; with it travels the file that takes stacks on SIGUSR1 and in a crash
        part      tick, body                            more of an outcome that is too large for one frame; None for
                                                        the body: its parts so far do not count, no end follows them
        end       tick, status, body or None
        wake      sensor, hints or None
        load      sensor
        inbox     request, tick, sensor, after, limit, again   the next deliveries
        events    request, sensor, after, types, assets or None, limit     what was committed behind event `after`
        texts     request, sensor, digests
        pong      number
        overdue   tick, stack                           a look past its timeout that cannot be ended from within
        log       sensor, level, message, fields
        closed

Digests and ledger records (16 bytes of digest, 8 of version) are joined and written in hex. The body of an outcome has
the fields of `outcome.Outcome` that are not empty; `put` is [records, keys], `remove` digests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the daemon reads this file too, and none of the evaluator's others
    from freshet.host.evaluator.ledger import LedgerCache, LedgerChange
    from freshet.host.evaluator.outcome import Outcome

__all__ = ["DIGEST", "PIECE", "RECORD", "fill", "join", "messages_of", "records", "split"]

PIECE = 4096
"""Items in one message at most: below 1 MiB unless single items are huge."""

DIGEST = 16
"""Bytes of a digest."""
RECORD = 24
"""Bytes of a digest and a version."""

_SMALL = ("cursor", "skip", "waiting", "error", "after", "lag", "notice", "cause", "in_hand")

Message = list[Any]


def join(digests: list[bytes]) -> str:
    """Digests as one text."""
    return b"".join(digests).hex()


def split(text: str) -> list[bytes]:
    """Digests from one text."""
    data = bytes.fromhex(text)
    return [data[start : start + DIGEST] for start in range(0, len(data), DIGEST)]


def records(text: str) -> list[tuple[bytes, bytes]]:
    """Pairs of digest and version from one text."""
    data = bytes.fromhex(text)
    starts = range(0, len(data), RECORD)
    return [(data[start : start + DIGEST], data[start + DIGEST : start + RECORD]) for start in starts]


def fill(cache: LedgerCache, text: str) -> None:
    """Put a piece of the ledger into the cache."""
    cache.entries.load(bytes.fromhex(text))


def messages_of(tick: int, outcome: Outcome) -> Iterator[Message]:
    """The messages that say how a look ended: one, or `part`s and one."""
    body, size = _body(outcome)
    if size <= PIECE:
        yield ["end", tick, outcome.status, body or None]
        return
    small = {name: body[name] for name in _SMALL if name in body}
    for part in _parts(outcome):
        yield ["part", tick, part]
    yield ["end", tick, outcome.status, small or None]


def _body(outcome: Outcome) -> tuple[dict[str, Any], int]:
    body: dict[str, Any] = {}
    size = 0
    for name in _SMALL:
        value = getattr(outcome, name)
        if value is not None:
            body[name] = value
    for name, items in (("runs", outcome.runs), ("reports", outcome.reports)):
        if items:
            body[name] = items
            size += len(items)
    if outcome.deliveries:
        body["deliveries"] = outcome.deliveries
        size += sum(map(_weight, outcome.deliveries))
    if outcome.partitions:
        body["partitions"] = outcome.partitions
        size += sum(len(added) + len(deleted) for _, added, deleted in outcome.partitions)
    ledger = outcome.ledger
    if ledger is not None:
        size += len(ledger.put) + len(ledger.removed)
        if size <= PIECE:
            body |= _put(ledger, list(ledger.put)) | _remove(list(ledger.removed))
    return body, size


def _put(ledger: LedgerChange, digests: list[bytes]) -> dict[str, Any]:
    if not digests:
        return {}
    put, keys = ledger.put, ledger.keys
    return {"put": [b"".join(digest + put[digest] for digest in digests).hex(), [keys[digest] for digest in digests]]}


def _remove(digests: list[bytes]) -> dict[str, Any]:
    return {"remove": join(digests)} if digests else {}


def _parts(outcome: Outcome) -> Iterator[dict[str, Any]]:
    for name, items in (("runs", outcome.runs), ("reports", outcome.reports)):
        for piece in _pieces(items or []):
            yield {name: piece}
    for delivery in outcome.deliveries or []:
        yield {"deliveries": [delivery]}
    for set_name, added, deleted in outcome.partitions or []:
        for piece in _pieces(added):
            yield {"partitions": [[set_name, piece, []]]}
        for piece in _pieces(deleted):
            yield {"partitions": [[set_name, [], piece]]}
    if outcome.ledger is not None:
        for piece in _pieces(outcome.ledger.put):
            yield _put(outcome.ledger, piece)
        for piece in _pieces(outcome.ledger.removed):
            yield _remove(piece)


def _weight(delivery: list[Any]) -> int:
    """How many items a delivery's results are."""
    _, _, _, runs, partitions, reports, _ = delivery
    return 1 + len(runs) + len(reports) + sum(len(added) + len(deleted) for _, added, deleted in partitions)


def _pieces(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while piece := list(islice(rest, PIECE)):
        yield piece
