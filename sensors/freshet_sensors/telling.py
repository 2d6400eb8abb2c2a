"""What a sensor finds wrong with its folder, told in the log as it begins and as it ends, and never in between."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from freshet import SensorContext

__all__ = ["Telling"]

_TOPICS = {
    "unreadable": "folders that may not be read",
    "links": "links that lead nowhere",
    "remote": "links to network file systems, looked at each interval",
    "watch": "polling, not watching",
}
_FEW = 10


class Telling:
    """What was told last, by topic. Each thing is told once, until it is over."""

    def __init__(self) -> None:
        self._told: dict[str, frozenset[str]] = {}

    def tell(self, ctx: SensorContext, folder: str, found: Mapping[str, Collection[str]]) -> None:
        """Compare what was found now, by topic, with what was told, and log what has changed about it."""
        for topic, things in found.items():
            before, now = self._told.get(topic, frozenset[str]()), frozenset(things)
            self._told[topic] = now
            if new := now - before:
                ctx.log.warning(_TOPICS[topic], folder=folder, reason=_few(new))
            elif before and not now:
                ctx.log.info(f"over: {_TOPICS[topic]}", folder=folder, reason=_few(before))


def _few(things: Collection[str]) -> str:
    shown = sorted(things)
    more = f" and {len(shown) - _FEW:,} more" if len(shown) > _FEW else ""
    return ", ".join(shown[:_FEW]) + more
