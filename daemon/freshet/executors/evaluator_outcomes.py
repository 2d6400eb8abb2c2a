"""From what an evaluator says about a look to the `TickEnd` the engine reads. See `host.evaluator.messages`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from freshet.executors.base import RequestedRun, TickEnd
from freshet.host.evaluator.messages import records, split
from freshet.store.records import LedgerDelta, LedgerEntry, PartitionDelta, ReportedMaterialization, TickError

__all__ = ["EndStatus", "tick_end"]

EndStatus = Literal["ok", "checkpoint", "failed", "timed_out", "later", "given_up", "abandoned"]

Body = dict[str, Any]


def tick_end(tick_id: int, sensor: str, status: EndStatus, bodies: list[Body]) -> TickEnd:
    """One end from the parts of it, in order."""
    if not bodies:
        return TickEnd(tick_id, sensor, status)
    last = bodies[-1]
    cursor, error = last.get("cursor"), last.get("error")
    return TickEnd(
        tick_id=tick_id,
        sensor=sensor,
        status=status,
        cursor=None if cursor is None else cursor[0],
        cursor_changed=cursor is not None,
        ledger=LedgerDelta(
            put=tuple(_entries(bodies)),
            remove=tuple(digest for body in bodies if "remove" in body for digest in split(body["remove"])),
        ),
        partitions=tuple(_partitions(bodies)),
        runs=tuple(RequestedRun(*run) for body in bodies for run in body.get("runs", ())),
        reports=tuple(ReportedMaterialization(*report) for body in bodies for report in body.get("reports", ())),
        skip=last.get("skip"),
        error=None if error is None else TickError(error["type"], error["message"], error["traceback"]),
        after=last.get("after"),
    )


def _entries(bodies: list[Body]) -> Iterable[LedgerEntry]:
    for body in bodies:
        if "put" in body:
            text, keys = body["put"]
            for (digest, version), key in zip(records(text), keys, strict=True):
                yield LedgerEntry(digest, version, key)


def _partitions(bodies: list[Body]) -> Iterable[PartitionDelta]:
    for body in bodies:
        for name, added, deleted in body.get("partitions", ()):
            yield PartitionDelta(name, tuple((key, metadata) for key, metadata in added), tuple(deleted))
