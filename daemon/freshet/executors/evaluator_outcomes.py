"""From what an evaluator says about a look to the `TickEnd` the engine reads. See `host.evaluator.messages`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

from freshet.definitions.outcome import Json
from freshet.executors.base import DeliveryEnd, RequestedRun, TickEnd
from freshet.host.evaluator.messages import DIGEST, PIECE, RECORD, split
from freshet.store.records import Cause, LedgerDelta, LedgerEntry, PartitionDelta, ReportedMaterialization, TickError

__all__ = ["EndStatus", "OutcomeParts"]

EndStatus = Literal["ok", "checkpoint", "failed", "timed_out", "later", "given_up", "abandoned"]

_NO_CHANGE = LedgerDelta()
_UNCAUSED = 6
_NOTHING: dict[str, Json] = {}


class _Entries(Sequence[LedgerEntry]):
    """Ledger entries as columns: the garbage collector does not visit those, and there may be a million."""

    __slots__ = ("_keys", "_records")

    def __init__(self) -> None:
        self._records = bytearray()
        self._keys: list[str] = []

    def extend(self, text: str, keys: list[str]) -> None:
        """More of them, as a message holds them."""
        self._records += bytes.fromhex(text)
        self._keys += keys
        if len(self._records) != RECORD * len(self._keys):
            raise ValueError("as many keys as records")

    def given(self) -> Sequence[LedgerEntry]:
        """Itself; a few as a plain tuple."""
        return self if len(self._keys) > PIECE else tuple(self)

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, at: int) -> LedgerEntry: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[LedgerEntry]: ...
    def __getitem__(self, at: int | slice) -> LedgerEntry | Sequence[LedgerEntry]:
        if isinstance(at, slice):
            return tuple(self[one] for one in range(*at.indices(len(self))))
        key = self._keys[at]
        record = bytes(self._records[RECORD * at : RECORD * (at + 1)])
        return LedgerEntry(record[:DIGEST], record[DIGEST:], key)


class OutcomeParts:
    """An outcome as its parts arrive: each is taken apart at once, so that a large one does not hold the loop."""

    __slots__ = (
        "_after",
        "_cause",
        "_cursor",
        "_deliveries",
        "_error",
        "_in_hand",
        "_lag",
        "_notice",
        "_partitions",
        "_put",
        "_remove",
        "_reports",
        "_runs",
        "_skip",
        "_waiting",
    )

    def __init__(self) -> None:
        self._cursor: list[Json] | None = None
        self._put = _Entries()
        self._remove: list[bytes] = []
        self._partitions: list[PartitionDelta] = []
        self._runs: list[RequestedRun] = []
        self._reports: list[ReportedMaterialization] = []
        self._deliveries: list[DeliveryEnd] = []
        self._skip: str | None = None
        self._waiting = False
        self._error: TickError | None = None
        self._after: float | None = None
        self._lag: tuple[int, float | None] | None = None
        self._notice: str | None = None
        self._cause: Cause = (0, None)
        self._in_hand: tuple[int, ...] | None = None

    def add(self, body: dict[str, Any]) -> None:
        """The next part, or the whole."""
        for name, value in body.items():
            match name:
                case "cursor":
                    self._cursor = value
                case "put":
                    self._put.extend(*value)
                case "remove":
                    self._remove.extend(split(value))
                case "runs":
                    self._runs.extend(map(_run, value))
                case "reports":
                    self._reports.extend(map(_report, value))
                case "partitions":
                    self._partitions.extend(map(_delta, value))
                case "deliveries":
                    self._deliveries.extend(map(_delivery, value))
                case "skip":
                    self._skip = value
                case "waiting":
                    self._waiting = value
                case "after":
                    self._after = value
                case "lag":
                    self._lag = (value[0], value[1])
                case "cause":
                    self._cause = (value[0], value[1])
                case "in_hand":
                    self._in_hand = tuple(value)
                case "notice":
                    self._notice = value
                case _:
                    self._error = TickError(value["type"], value["message"], value["traceback"])

    def end(self, tick_id: int, sensor: str, status: EndStatus) -> TickEnd:
        """All parts together."""
        return TickEnd(
            tick_id=tick_id,
            sensor=sensor,
            status=status,
            cursor=None if self._cursor is None else self._cursor[0],
            cursor_changed=self._cursor is not None,
            ledger=LedgerDelta(self._put.given(), tuple(self._remove)) if self._put or self._remove else _NO_CHANGE,
            partitions=tuple(self._partitions),
            runs=tuple(self._runs),
            reports=tuple(self._reports),
            deliveries=tuple(self._deliveries),
            skip=self._skip,
            waiting=self._waiting,
            error=self._error,
            after=self._after,
            lag=self._lag,
            notice=self._notice,
            cause=self._cause,
            in_hand=self._in_hand,
        )


def _run(told: list[Any]) -> RequestedRun:
    """A run; the seventh, where there is one, is its cause."""
    target, partition, run_key, params, tags, priority = told[:_UNCAUSED]
    cause = (told[_UNCAUSED][0], told[_UNCAUSED][1]) if len(told) > _UNCAUSED else None
    return RequestedRun(target, partition, run_key, params, tags, priority, cause)


def _report(told: list[Any]) -> ReportedMaterialization:
    asset, key, metadata, version, at = told
    return ReportedMaterialization(asset, key, metadata=metadata, data_version=version, at=at)


def _delta(told: list[Any]) -> PartitionDelta:
    set_name, added, deleted = told
    return PartitionDelta(set_name, tuple((key, metadata or _NOTHING) for key, metadata in added), tuple(deleted))


def _delivery(told: list[Any]) -> DeliveryEnd:
    number, outcome, reason, runs, partitions, reports, after = told
    return DeliveryEnd(
        number,
        outcome,
        reason,
        tuple(map(_run, runs)),
        tuple(map(_delta, partitions)),
        tuple(map(_report, reports)),
        after,
    )
