"""A simulation on stdout: a line an entry, in order, then what it comes to; with `--json` a JSON object a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from freshet.cli.text import in_line
from freshet.definitions.durations import format_duration
from freshet.engine.simulation.entries import Entry, Peak, Tally
from freshet.engine.simulation.moments import shown

__all__ = ["Printer"]

_KIND = 9
"""The width of the longest kind."""


class Printer:
    """`only`: names whose entries are printed; empty for all. Notes go to stderr, or as JSON in their place."""

    def __init__(self, zone: str, *, as_json: bool, only: Iterable[str] = (), flush: bool = False) -> None:
        self._zone = zone
        self._json = as_json
        self._only = frozenset(only)
        self._flush = flush

    def note(self, text: str) -> None:
        """Something to know beforehand."""
        if self._json:
            self._object({"kind": "note", "detail": text})
        else:
            print(f"note: {in_line(text)}", file=sys.stderr)  # noqa: T201

    def entry(self, entry: Entry) -> None:
        """What would happen."""
        if self._only and entry.name not in self._only:
            return
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
        print(json.dumps(value), flush=self._flush)  # noqa: T201

    # --- the summary ---------------------------------------------------------------------------------------

    def summary(self, tally: Tally, begin: float) -> None:
        """What it comes to. The peaks are of all that ran, whatever was printed."""
        if self._json:
            self._object(self._summary_json(tally, begin))
        else:
            print("\n".join(in_line(line) if line else "" for line in self._summary_lines(tally, begin)))  # noqa: T201

    def _wanted(self, counts: dict[str, Any]) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in sorted(counts.items()) if not self._only or name in self._only]

    def _summary_json(self, tally: Tally, begin: float) -> dict[str, Any]:
        return {
            "kind": "summary",
            "from": shown(begin, self._zone),
            "until": shown(tally.ended, self._zone),
            "ticks": dict(self._wanted(tally.ticks)),
            "skipped": dict(self._wanted(tally.skipped)),
            "runs": {
                name: {"runs": one.runs, "seconds": round(one.seconds, 3)} for name, one in self._wanted(tally.runs)
            },
            "lapses": dict(self._wanted(tally.lapses)),
            "busiest_minute": self._peak(tally.busiest),
            "longest_queue": self._peak(tally.queue),
            "running": tally.running,
        }

    def _peak(self, peak: Peak) -> dict[str, Any] | None:
        return None if peak.at is None else {"count": peak.count, "at": shown(peak.at, self._zone)}

    def _summary_lines(self, tally: Tally, begin: float) -> list[str]:
        span = format_duration(tally.ended - begin)
        lines = ["", f"{shown(begin, self._zone)} to {shown(tally.ended, self._zone)}  ({span})"]
        lines += _section("ticks", [(name, str(count)) for name, count in self._wanted(tally.ticks)])
        lines += _section("skipped ticks", [(name, str(count)) for name, count in self._wanted(tally.skipped)])
        runs = [(name, f"{one.runs}  {format_duration(one.seconds)} in all") for name, one in self._wanted(tally.runs)]
        lines += _section("runs", runs)
        lines += _section("lapses", [(name, str(count)) for name, count in self._wanted(tally.lapses)])
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
