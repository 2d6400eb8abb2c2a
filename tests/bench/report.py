"""The table for people and the JSON for machines."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.figure import Row

__all__ = ["table", "write_json"]

_HEAD = ("figure", "median", "p99 or range", "unit", "bar", "met")


def table(rows: Sequence[Row]) -> str:
    """Aligned columns; from 100 values on the p99 is shown, below it the range."""
    lines = [_HEAD, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    shown = [_line(line, widths) for line in lines]
    return "\n".join([shown[0], "-" * len(shown[0]), *shown[1:]])


def _cells(row: Row) -> tuple[str, ...]:
    found = row.summary
    spread = "" if found.count == 1 else f"{_short(found.low)} - {_short(found.high)}"
    if found.count >= 100:
        spread = f"p99 {_short(found.p99)}"
    met = {None: "", True: "yes", False: "NO"}[row.met]
    return (row.what, _short(found.median), spread, row.unit, "" if row.bar is None else str(row.bar), met)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        cell.rjust(width) if column in (1, 2) else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()


def _short(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write_json(
    folder: Path, *, machine: dict[str, Any], rows: Sequence[Row], failed: dict[str, str], quick: bool
) -> Path:
    """One file a call, named by its time, and the same as `latest.json`."""
    body = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": quick,
        "machine": machine,
        "figures": [_plain(row) for row in rows],
        "failed": failed,
    }
    text = json.dumps(body, indent=2) + "\n"
    path = folder / f"bench-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
    path.write_text(text)
    (folder / "latest.json").write_text(text)
    return path


def _plain(row: Row) -> dict[str, Any]:
    bar = None if row.bar is None else asdict(row.bar)
    return {"what": row.what, "unit": row.unit, **asdict(row.summary), "bar": bar, "met": row.met, "note": row.note}
