"""Deliveries for evaluators: those that wait, in messages that fit a frame with room to spare."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import structlog

from freshet.errors import FreshetError
from freshet.executors.base import Answers
from freshet.executors.evaluator_link import EvaluatorLink
from freshet.store.records import WaitingDelivery

__all__ = ["serve_inbox"]

_PIECE = 600_000
"""Bytes of bodies in one message: below 1 MiB in base64, with what stands beside them."""
_BESIDE = 2_000
"""Bytes that a delivery counts besides its body."""

_log = structlog.get_logger("freshet.sensors")


async def serve_inbox(
    answers: Answers, link: EvaluatorLink, number: int, tick: int, sensor: str, after: int, limit: int, again: bool
) -> None:
    """Answer which deliveries a look finds behind row `after`; where the store fails, that it failed."""
    try:
        found, more = await answers.deliveries(sensor, tick=tick, after=after, limit=limit, again=again)
    except FreshetError as error:
        _log.warning("the deliveries could not be read", sensor=sensor, error=str(error))
        link.send(["inbox", number, None, False])
        return
    for rows in _messages(found):
        link.send(["inbox", number, rows, None])
        await link.drain()
    link.send(["inbox", number, [], more])


def _messages(found: tuple[WaitingDelivery, ...]) -> Iterator[list[list[Any]]]:
    rows, room = list[list[Any]](), _PIECE
    for one in found:
        head = [one.id, one.delivery, one.content_type, one.headers, one.attempts, one.received_at]
        start = 0
        while True:
            piece = one.body[start : start + max(1, room)]
            start += len(piece)
            complete = start >= len(one.body)
            rows.append([*head, base64.b64encode(piece).decode(), complete])
            room -= len(piece) + _BESIDE
            if room <= 0:
                yield rows
                rows, room = [], _PIECE
            if complete:
                break
    if rows:
        yield rows
