"""A simulation on stdout: a line an entry, in order, then what it comes to; with `--json` a JSON object a line."""

from __future__ import annotations

import sys
from typing import Any

import orjson

from freshet.cli.text import in_line
from freshet.definitions.durations import format_duration
from freshet.engine.simulation.entries import Entry, Peak, Tally
from freshet.engine.simulation.moments import shown

__all__ = ["Printer"]

_KIND = 9
"""The width of the longest kind."""


class Printer:
    """Notes go to stderr, or as JSON in their place."""

    def __init__(self, zone: str, *, as_json: bool, flush: bool = False) -> None:
        self._zone = zone
        self._json = as_json
        self._flush = flush
        self._told = False

    def note(self, text: str) -> None:
        """Something to know beforehand."""
        if self._json:
            self._object({"kind": "note", "detail": text})
        else:
            print(f"note: {in_line(text)}", file=sys.stderr)  # noqa: T201

    def entry(self, entry: Entry) -> None:
        """What would happen."""
        self._told = True
        if self._json:
            self._object(self._as_json(entry))
        else:
            line = f"{shown(entry.at, self._zone)}  {entry.kind:{_KIND}}  {in_line(_text(entry))}"
            print(line, flush=self._flush)  # noqa: T201

    def _as_json(self, entry: Entry) -> dict[str, Any]:
        found: dict[str, Any] = {"at": shown(entry.at, self._zone), "kind": entry.kind, "name": entry.name}
        optional = {"partition": entry.partition, "run": entry.run, "seconds": entry.seconds}
        found |= {name: value for name, value in optional.items() if value is not None}
        if entry.count != 1:
            found["count"] = entry.count
        if entry.detail:
            found["detail"] = entry.detail
        return found

    def _object(self, value: dict[str, Any]) -> None:
        sys.stdout.write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE).decode())
        if self._flush:
            sys.stdout.flush()

    # --- the summary ---------------------------------------------------------------------------------------

    def summary(self, tally: Tally, begin: float) -> None:
        """What it comes to."""
        if self._json:
            self._object(self._summary_json(tally, begin))
        else:
            print("\n".join(in_line(line) if line else "" for line in self._summary_lines(tally, begin)))  # noqa: T201

    def _summary_json(self, tally: Tally, begin: float) -> dict[str, Any]:
        return {
            "kind": "summary",
            "from": shown(begin, self._zone),
            "until": shown(tally.ended, self._zone),
            "ticks": dict(sorted(tally.ticks.items())),
            "skipped": dict(sorted(tally.skipped.items())),
            "runs": {
                name: {"runs": one.runs, "seconds": round(one.seconds, 3)} for name, one in sorted(tally.runs.items())
            },
            "lapses": dict(sorted(tally.lapses.items())),
            "busiest_minute": self._peak(tally.busiest),
            "longest_queue": self._peak(tally.queue),
            "running": tally.running,
        }

    def _peak(self, peak: Peak) -> dict[str, Any] | None:
        return None if peak.at is None else {"count": peak.count, "at": shown(peak.at, self._zone)}

    def _summary_lines(self, tally: Tally, begin: float) -> list[str]:
        span = format_duration(tally.ended - begin)
        head = "" if self._told else "nothing would happen"
        lines = [head, f"{shown(begin, self._zone)} to {shown(tally.ended, self._zone)}  ({span})"]
        lines += _section("ticks", [(name, str(count)) for name, count in sorted(tally.ticks.items())])
        lines += _section("skipped ticks", [(name, str(count)) for name, count in sorted(tally.skipped.items())])
        runs = [
            (name, f"{one.runs}  {format_duration(one.seconds)} in all") for name, one in sorted(tally.runs.items())
        ]
        lines += _section("runs", runs)
        lines += _section("lapses", [(name, str(count)) for name, count in sorted(tally.lapses.items())])
        peaks = [
            (name, f"{peak.count} {what}, {shown(peak.at, self._zone)}")
            for name, peak, what in (
                ("busiest minute", tally.busiest, "steps started"),
                ("longest queue", tally.queue, "steps waited"),
            )
            if peak.at is not None
        ]
        running = [("still running", str(tally.running))] if tally.running else []
        return lines + _section("peaks", peaks + running)


def _section(title: str, rows: list[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in rows), default=0)
    return [title, *(f"  {name:{width}}  {text}" for name, text in rows)] if rows else []


def _text(entry: Entry) -> str:
    parts = [entry.name]
    if entry.partition is not None:
        parts.append(f"[{entry.partition}]" + (f" ({entry.count})" if entry.count != 1 else ""))
    elif entry.count != 1:
        parts.append(f"{entry.count} times")
    if entry.run is not None:
        parts.append(f"run {entry.run}")
    if entry.seconds is not None:
        parts.append(f"in {format_duration(entry.seconds)}")
    if entry.detail:
        parts.append(f"({entry.detail})")
    return " ".join(parts)
