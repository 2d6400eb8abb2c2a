"""How a piece of an outcome is written down until it is carried out: as JSON, quick for keys and ledger entries."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

from freshet.errors import ValueFormatError
from freshet.store.records import (
    BareKeys,
    LedgerDelta,
    LedgerEntry,
    PartitionDelta,
    ReportedMaterialization,
    RunToAdmit,
    names_of,
)
from freshet.store.records.pending import RequestToKeep
from freshet.store.records.stages import StagePiece, Strand

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["decode", "encode"]

_DIGEST = 16
_RECORD = 24


def encode(piece: StagePiece) -> str:
    """The piece as JSON text. Raises `ValueFormatError` for what JSON cannot hold."""
    body: dict[str, Any] = {}
    if piece.partitions:
        body["partitions"] = [[delta.set, _added(delta), delta.delete, delta.alone] for delta in piece.partitions]
    if piece.strands:
        body["strands"] = [tuple(strand) for strand in piece.strands]
    if piece.ledger.put:
        records = b"".join(entry.digest + entry.version for entry in piece.ledger.put)
        body["put"] = [records.hex(), [entry.key for entry in piece.ledger.put]]
    if piece.ledger.remove:
        body["remove"] = b"".join(piece.ledger.remove).hex()
    if piece.ends_ledger:
        body["ends_ledger"] = True
    if piece.reports:
        body["reports"] = piece.reports
    if piece.runs:
        body["runs"] = piece.runs
    if piece.pending:
        body["pending"] = piece.pending
    if piece.release:
        body["release"] = piece.release
    try:
        return orjson.dumps(body).decode()
    except orjson.JSONEncodeError as error:
        raise ValueFormatError(f"a value cannot be kept as JSON: {error}", hint="keep it as text") from error


def _added(delta: PartitionDelta) -> tuple[str, ...] | list[tuple[str, Any]]:
    """Keys alone where none has metadata: nearly always so where they are many."""
    if not isinstance(delta.add, BareKeys) and any(metadata for _, metadata in delta.add):
        return list(delta.add)
    return names_of(delta.add)


def decode(text: str) -> StagePiece:
    """What `encode` wrote."""
    body = orjson.loads(text)
    return StagePiece(
        partitions=tuple(_delta(*parts) for parts in body.get("partitions", ())),
        strands=tuple(Strand(*strand) for strand in body.get("strands", ())),
        ledger=LedgerDelta(
            tuple(_entries(*body["put"])) if "put" in body else (),
            tuple(_split(bytes.fromhex(body.get("remove", "")), _DIGEST)),
        ),
        ends_ledger=body.get("ends_ledger", False),
        reports=_reports().validate_python(body["reports"]) if "reports" in body else (),
        runs=_runs().validate_python(body["runs"]) if "runs" in body else (),
        pending=_pending().validate_python(body["pending"]) if "pending" in body else (),
        release=tuple((target, partition, run_key) for target, partition, run_key in body.get("release", ())),
    )


def _delta(set: str, added: list[Any], deleted: list[str], alone: bool = False) -> PartitionDelta:
    if added and isinstance(added[0], str):
        return PartitionDelta(set, BareKeys(tuple(added)), tuple(deleted), alone)
    return PartitionDelta(set, tuple((key, metadata) for key, metadata in added), tuple(deleted), alone)


def _entries(records: str, keys: list[str]) -> Iterable[LedgerEntry]:
    for record, key in zip(_split(bytes.fromhex(records), _RECORD), keys, strict=True):
        yield LedgerEntry(record[:_DIGEST], record[_DIGEST:], key)


def _split(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@cache
def _runs() -> TypeAdapter[tuple[RunToAdmit, ...]]:
    from pydantic import TypeAdapter

    return TypeAdapter(tuple[RunToAdmit, ...])


@cache
def _pending() -> TypeAdapter[tuple[RequestToKeep, ...]]:
    from pydantic import TypeAdapter

    return TypeAdapter(tuple[RequestToKeep, ...])


@cache
def _reports() -> TypeAdapter[tuple[ReportedMaterialization, ...]]:
    from pydantic import TypeAdapter

    return TypeAdapter(tuple[ReportedMaterialization, ...])
