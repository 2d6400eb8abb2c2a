"""Ledgers for evaluators: whole ones in pieces that give way to other messages, and key texts for a few entries."""

from __future__ import annotations

import asyncio

import structlog

from freshet.errors import FreshetError
from freshet.executors.base import Answers
from freshet.executors.evaluator_link import EvaluatorLink
from freshet.host.evaluator.messages import PIECE, join, split
from freshet.store.records import LedgerEntry

__all__ = ["serve_ledger", "serve_texts"]

_RETRY = 1.0

_log = structlog.get_logger("freshet.sensors")


async def serve_ledger(answers: Answers, link: EvaluatorLink, sensor: str) -> None:
    """Send the whole ledger. Where the store fails, try again every second: the tick waits up to its timeout.

    The revision is read first: entries that a commit changes meanwhile are at least that new, and a cache that is newer
    than it says is loaded once more than needed, never once less.
    """
    while not link.closed:
        try:
            await _send_ledger(answers, link, sensor)
            return
        except FreshetError as error:
            _log.warning("the ledger could not be read; trying again", sensor=sensor, error=str(error))
            await asyncio.sleep(_RETRY)


async def _send_ledger(answers: Answers, link: EvaluatorLink, sensor: str) -> None:
    revision = answers.ledger_revision(sensor)
    link.send(["ledger", sensor, revision, "", False, True])
    async with answers.load_ledger(sensor) as pieces:
        async for entries in pieces:
            for start in range(0, len(entries), PIECE):
                link.send(["ledger", sensor, revision, _text(entries[start : start + PIECE]), False, False])
                await link.drain()
    link.send(["ledger", sensor, revision, "", True, False])


def _text(entries: tuple[LedgerEntry, ...]) -> str:
    return b"".join(entry.digest + entry.version for entry in entries).hex()


async def serve_texts(answers: Answers, link: EvaluatorLink, request: int, sensor: str, digests: str) -> None:
    """Answer which keys some digests stand for; where the store fails, that it failed."""
    asked = tuple(split(digests))
    try:
        found = await answers.ledger_keys(sensor, asked)
    except FreshetError as error:
        _log.warning("the ledger's keys could not be read", sensor=sensor, error=str(error))
        link.send(["texts", request, "", None, True])
        return
    known = [digest for digest in asked if digest in found]
    for start in range(0, len(known), PIECE):
        piece = known[start : start + PIECE]
        link.send(["texts", request, join(piece), [found[digest] for digest in piece], False])
        await link.drain()
    link.send(["texts", request, "", [], True])
