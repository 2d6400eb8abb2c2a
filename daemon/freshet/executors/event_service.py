"""Events for evaluators: those that were committed, in messages that fit a frame with room to spare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import structlog

from freshet.definitions.listen import Happened
from freshet.errors import FreshetError
from freshet.executors.base import Answers
from freshet.executors.evaluator_link import EvaluatorLink

__all__ = ["serve_events"]

_PIECE = 600_000
"""Bytes of one message, unless one event alone is larger."""

_log = structlog.get_logger("freshet.sensors")


async def serve_events(
    answers: Answers,
    link: EvaluatorLink,
    number: int,
    sensor: str,
    after: int | None,
    types: list[str],
    names: list[str] | None,
    limit: int,
) -> None:
    """Answer what a look asks for after event `after`; where the store fails, that it failed."""
    try:
        found = await answers.happened(after, tuple(types), None if names is None else tuple(names), limit)
    except FreshetError as error:
        _log.warning("the events could not be read", sensor=sensor, error=str(error))
        link.send(["events", number, None, None, None])
        return
    for rows in _messages(found):
        link.send(["events", number, rows, None, None])
        await link.drain()
    link.send(["events", number, [], found.seq, found.last])


def _messages(found: tuple[Happened, ...]) -> Iterator[list[Any]]:
    rows, size = list[Any](), 0
    for one in found:
        head = [one.seq, one.at.timestamp(), one.type, one.asset, one.partition, one.run, one.data, one.live, one.depth]
        row = orjson.dumps(head)
        if rows and size + len(row) > _PIECE:
            yield rows
            rows, size = [], 0
        rows.append(orjson.Fragment(row))
        size += len(row)
    if rows:
        yield rows
