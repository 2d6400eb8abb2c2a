"""A line of a run's journal as a line for a person."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from freshet.cli.text import clock, error_text, in_line, plain

__all__ = ["JournalLine", "parse_line", "rendered"]


@dataclass(frozen=True)
class JournalLine:
    """One line, with what a reader may rely on filled in."""

    at: float
    step: str
    attempt: int
    stream: str
    text: str = ""
    level: str = ""
    fields: dict[str, Any] = field(default_factory=dict[str, Any])


def parse_line(raw: bytes) -> JournalLine:
    """What the worker wrote; a line that is no such object (cut off by a crash) is shown as it stands."""
    try:
        line: Any = json.loads(raw)
    except ValueError:
        line = None
    if not hasattr(line, "get"):
        return JournalLine(0.0, "?", 1, "raw", raw.decode("utf-8", "backslashreplace"))
    fields: Any = line.get("fields")
    return JournalLine(
        at=float(line.get("t") or 0.0),
        step=str(line.get("step", "?")),
        attempt=int(line.get("attempt") or 1),
        stream=str(line.get("stream", "?")),
        text=str(line.get("text", line.get("message", ""))),
        level=str(line.get("level", "")),
        fields=fields if hasattr(fields, "items") else {},
    )


def rendered(line: JournalLine) -> str:
    """`12:00:01.123 raw_orders | text`; what spans lines goes on indented."""
    step = in_line(line.step) + (f"#{line.attempt}" if line.attempt > 1 else "")
    return f"{clock(line.at)} {step} {_body(line)}".rstrip()


def _body(line: JournalLine) -> str:
    fields = line.fields
    match line.stream:
        case "stdout" | "stderr":
            return f"| {_block(line.text)}"
        case "log":
            return f"{in_line(line.level)}: {_block(line.text)}{_pairs(fields)}"
        case "progress":
            return f"progress {in_line(progress_text(fields))}"
        case "metadata":
            return f"metadata{_pairs(fields)}"
        case "artifact":
            return f"artifact{_pairs({key: fields[key] for key in ('name', 'kind', 'href', 'size') if key in fields})}"
        case "state":
            error = fields.get("error")
            rest = {key: value for key, value in fields.items() if key != "error"}
            return f"{in_line(line.text)}{_pairs(rest)}" + (f": {_block(error_text(error))}" if error else "")
        case _:
            return f"{in_line(line.stream)}: {_block(line.text)}{_pairs(fields)}"


def progress_text(fields: dict[str, Any]) -> str:
    """`3/10 (30%)`, or `3` where the total is unknown."""
    done, total = fields.get("done"), fields.get("total")
    if isinstance(done, int | float) and isinstance(total, int | float) and total > 0:
        return f"{done:g}/{total:g} ({done / total:.0%})"
    return f"{done:g}" if isinstance(done, int | float) else str(done)


def _block(text: str) -> str:
    return plain(text).replace("\n", "\n    ")


def _pairs(fields: dict[str, Any]) -> str:
    return "".join(
        f" {in_line(key)}={in_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}"
        for key, value in fields.items()
    )
