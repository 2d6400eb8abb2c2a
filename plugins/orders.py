"""Orders: each CSV that lands in `inbox/` becomes a batch, is read and cleaned, and `sales` sums all batches up.

Try it: `cp samples/orders-2026-11-20.csv inbox/`. What cannot be read fails alone: `cp samples/broken.csv inbox/`.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from freshet import (
    AutomationCondition,
    DynamicPartitions,
    Freshness,
    GiveUp,
    JobContext,
    StepContext,
    asset,
    check,
    job,
    schedule,
)
from freshet_sensors import FileSensor

Rows = list[dict[str, Any]]

batches = DynamicPartitions("batches")

# A file that lands becomes a partition, and the partition's first asset is materialized.
landing = FileSensor("landing", path="inbox", pattern="{batch}.csv", partitions=batches, target="raw_orders")


@asset(partitions=batches, freshness=Freshness(within="1h", warn="45m"), retries=3)
def raw_orders(ctx: StepContext) -> Rows:
    """The rows of one batch, as they stand in its file."""
    path = ctx.partition.metadata["path"]  # what the sensor attached to the partition
    rows = read_orders(path)
    ctx.metadata(rows=len(rows))
    return rows


@asset(partitions=batches, automation=AutomationCondition.eager())
def clean_orders(raw_orders: Rows) -> Rows:  # the parameter's name is the dependency
    """The batch without rows that have no amount; an amount that is no number fails this batch alone."""
    return [row | {"amount": amount_of(row)} for row in raw_orders if row["amount"].strip()]


@asset(automation=AutomationCondition.eager() | AutomationCondition.on_lapse())
def sales(ctx: StepContext, clean_orders: dict[str, Rows]) -> float:  # unpartitioned: all upstream partitions, by key
    """The sum of all amounts, refunds taken off."""
    ctx.metadata(batches=len(clean_orders))
    return round(math.fsum(row["amount"] for rows in clean_orders.values() for row in rows), 2)


@check(asset=sales, blocking=True)
def not_negative(sales: float) -> bool:
    """Refunds never exceed what was sold; whatever is built on `sales` would not hear of a sum below zero."""
    return sales >= 0


@job
async def notify(ctx: JobContext, order_id: int, urgent: bool = False) -> None:
    """Tell somebody about an order; parameters are validated by their annotations."""
    (ctx.log.warning if urgent else ctx.log.info)("order", order_id=order_id)


@schedule(cron="0 6 * * *", timezone="Europe/Berlin", target=sales)
def every_morning() -> None:
    """Whatever has landed or not, the day begins with fresh sales."""


def read_orders(path: str) -> Rows:
    """The rows of a file. Raises `GiveUp`, which no retry follows, naming file and line where it is no whole CSV."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or ())
            if missing := {"order_id", "amount"} - set(columns):
                raise GiveUp(f"{path}: no column {' and no column '.join(sorted(missing))} in the first line")
            rows: Rows = []
            for row in reader:
                if len(row) > len(columns) or None in row.values():
                    raise GiveUp(f"{path}, line {reader.line_num}: not {len(columns)} columns; half-written?")
                rows.append(row)
            return rows
    except UnicodeDecodeError as error:
        raise GiveUp(f"{path}: no UTF-8 text ({error.reason} at byte {error.start})") from error
    except csv.Error as error:
        raise GiveUp(f"{path}: no CSV ({error}); half-written?") from error


def amount_of(row: dict[str, Any]) -> float:
    """The row's amount. Raises `ValueError` where it is no number."""
    amount = float(row["amount"])
    if not math.isfinite(amount):
        raise ValueError(f"order {row['order_id']}: the amount {row['amount']!r} is no number")
    return amount
