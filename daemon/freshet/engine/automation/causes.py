"""Whether a request is because of the events that were looked at, or of others that came before them."""

from __future__ import annotations

from collections.abc import Sequence

from pyroaring import BitMap

from freshet.engine.automation.moment import Moment
from freshet.engine.automation.state import EMPTY, World
from freshet.store.records import Event

__all__ = ["Causes"]


class Causes:
    """What is asked for when a run of it ends, though something else had happened while it was under way, is because of
    that, and not of the run: otherwise a busy asset would look like a chain of runs. What a deadline has come for is
    because of what came before, too. Not remembered through a restart: the run counts then.
    """

    def __init__(self) -> None:
        self._stirred: dict[str, BitMap] = {}

    def looked(self, world: World, moment: Moment, asset: str, candidates: BitMap) -> None:
        """These partitions are about to be looked at."""
        own, flying = moment.of(asset), world.levels(asset).in_flight(candidates)
        if stirred := flying - own.touched - own.begun if flying else EMPTY:
            self._stirred[asset] = self._stirred.get(asset, EMPTY) | stirred

    def before(self, moment: Moment, asset: str, asked: BitMap) -> BitMap:
        """Those of what was asked for whose cause came before; what ended is forgotten."""
        stirred = self._stirred.get(asset)
        if moment.late:
            found = asked
        elif not stirred:
            return EMPTY
        else:
            found = asked & stirred & self._ended(moment, asset)
        if stirred:
            self._stirred[asset] = rest = stirred - asked - self._ended(moment, asset)
            if not rest:
                del self._stirred[asset]
        return found

    @staticmethod
    def _ended(moment: Moment, asset: str) -> BitMap:
        own = moment.of(asset)
        return (own.updated - own.reported) | own.failed | own.canceled | own.skipped

    @staticmethod
    def late(events: Sequence[Event]) -> bool:
        """Whether these lead to nothing by themselves: none at all (a deadline), or the end of a chain."""
        return all(event.type == "chain_stopped" for event in events)
