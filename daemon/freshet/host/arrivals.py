"""`python -m freshet.host.arrivals PLUGINS PARENT`: what the sensors would say of files that arrive, for a simulation.

Reads a JSON line of what the configuration says to plugins, then JSON lines [number, path, at] until the end of its
input, and answers with JSON lines: first {"sensors": names}, those that have a method `arrival(path, at)`; then for
each that has something to say of a line {"line", "sensor", "body"} with what it yields (see `evaluator.messages`), or
{"line", "sensor", "problem"}.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from freshet.definitions.sensor import Sensor
from freshet.definitions.tables import Tables
from freshet.errors import FreshetError
from freshet.host.describe import catalog
from freshet.host.evaluator.outcome import Found
from freshet.host.loader import load
from freshet.host.process import die_with_parent
from freshet.host.sources import Sources

__all__ = ["judge", "main"]

_Judge = Callable[[str, float], object]


def main(plugins: str, parent: str) -> None:
    """Load the plugins and answer. What they print goes to stderr."""
    die_with_parent(int(parent))
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        tables = Tables(**orjson.loads(sys.stdin.buffer.readline()))
        sources = Sources.read(Path(plugins), tables)
        made = catalog(load(sources).found, version=sources.version)
        judge(made.sensors, sys.stdin.buffer, answers)
    os._exit(0)  # whatever threads the plugins have started


def judge(sensors: dict[str, Sensor], lines: Iterable[bytes], answers: BinaryIO) -> None:
    """Answer each line. A sensor that raises has a problem with that line, and with no other."""
    able: dict[str, _Judge] = {}
    for name, one in sorted(sensors.items()):
        found: Any = getattr(one, "arrival", None)
        if callable(found):
            able[name] = found
    answers.write(orjson.dumps({"sensors": list(able)}) + b"\n")
    for line in lines:
        number, path, at = orjson.loads(line)
        for name, arrival in able.items():
            answer = _answer(name, arrival, path, at)
            if answer:
                answers.write(orjson.dumps({"line": number, "sensor": name, **answer}) + b"\n")


def _answer(name: str, arrival: _Judge, path: str, at: float) -> dict[str, Any]:
    found = Found(name)
    try:
        found.take(arrival(path, at))
    except FreshetError as error:
        return {"problem": error.message}
    except Exception as error:  # user code
        return {"problem": f"{type(error).__name__}: {error}"}
    fields = {"runs": found.runs, "partitions": found.partitions, "reports": found.reports}
    body = {field: said for field, said in fields.items() if said}
    return {"body": body} if body else {}


if __name__ == "__main__":
    main(*sys.argv[1:])
