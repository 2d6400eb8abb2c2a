"""What Prometheus reads: the daemon in figures, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from freshet.engine.views import EngineStatus, SensorState

__all__ = ["CONTENT_TYPE", "metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics(status: EngineStatus, sensors: Iterable[SensorState]) -> str:
    """One sample a line. Who may send deliveries may read it, so that it names nothing that a plugin declares. `_total`
    only grows while the daemon lives."""
    return "".join(f"{line}\n" for line in _lines(status, sensors))


def _lines(status: EngineStatus, sensors: Iterable[SensorState]) -> Iterator[str]:
    found, holds = list(sensors), status.loop_holds
    yield from _one("freshet_ready", "gauge", "Whether the daemon takes work.", int(status.state == "ready"))
    yield from _one("freshet_start_time_seconds", "gauge", "When the daemon started.", status.started_at)
    yield from _one("freshet_steps_running", "gauge", "Steps under way.", status.running)
    yield from _one("freshet_steps_queued", "gauge", "Steps that wait for a slot or their next attempt.", status.queued)
    yield from _one("freshet_refused_ticks_total", "counter", "Outcomes that came late or twice.", status.refused_ticks)
    said = "How often the daemon's own event loop was held for more than 100 ms."
    yield from _one("freshet_loop_held_total", "counter", said, holds.times)
    yield from _one("freshet_loop_held_seconds_total", "counter", "For how long in all.", holds.seconds)
    yield from _one("freshet_loop_held_worst_seconds", "gauge", "For how long at the most.", holds.worst)
    counted = Counter(one.status for one in found)
    yield from _head("freshet_sensors", "gauge", "Sensors, by how they stand.")
    yield from (f'freshet_sensors{{status="{name}"}} {count}' for name, count in sorted(counted.items()))
    apart = sum(one.isolated for one in found)
    yield from _one("freshet_sensors_isolated", "gauge", "Sensors that have an evaluator of their own.", apart)


def _head(name: str, kind: str, said: str) -> Iterator[str]:
    yield f"# HELP {name} {said}"
    yield f"# TYPE {name} {kind}"


def _one(name: str, kind: str, said: str, value: float) -> Iterator[str]:
    yield from _head(name, kind, said)
    yield f"{name} {value}"
