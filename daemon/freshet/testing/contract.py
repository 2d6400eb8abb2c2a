"""`assert_sensor_contract(sensor)`: what the engine relies on, tried out on one sensor, as the engine would do it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from freshet.definitions.delivery import Delivery
from freshet.definitions.listen import Happened
from freshet.definitions.outcome import Json
from freshet.definitions.sensor import Sensor, ability
from freshet.testing.ticking import Seen, Ticked, tick

__all__ = ["assert_imports_quietly", "assert_sensor_contract"]

_SHOWN = 5
"""Things that a message names."""

_QUIET = """
import sys, threading
sys.path[:0] = {path!r}
before = set(threading.enumerate())
def told(event, args):
    if event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "socket.getaddrinfo"):
        raise SystemExit("at import: " + event + repr(args)[:200])
sys.addaudithook(told)
import {module}
left = set(threading.enumerate()) - before
if left:
    raise SystemExit("at import: started " + repr(left))
"""


def assert_sensor_contract(
    sensor: Sensor,
    *,
    arrive: Callable[[], Iterable[str] | None] | None = None,
    deliveries: Sequence[Delivery] = (),
    events: Sequence[Happened] = (),
) -> Ticked:
    """Raise `AssertionError` where the sensor breaks what the engine relies on; returns what a full look found.

    `arrive`: makes something new appear in the world, and returns the hints that a wake would carry for it (None: no
    hints, a full look). Without it, only what is there already is looked at. The world must stand still meanwhile, and
    what settles must have settled. `deliveries`: what waits in the inbox. `events`: what has happened in the daemon.

    That a commit may be lost: looked at again from the same cursor and ledger, it says the same. That a dry run says
    the same and takes nothing. That after a look nothing is new. That a hinted look says no more than a full one. That
    each part up to a checkpoint can stand alone: from there, a look finds the rest and no more. That the cursor is
    plain JSON. That `close()` follows `open()` also where the look fails.
    """
    given: dict[str, Any] = {"deliveries": tuple(deliveries), "events": tuple(events)}
    first = _look(sensor, None, None, **given)
    _same(first, _look(sensor, None, None, **given), "looked at again after a commit that was lost, it differs")
    dry = _look(sensor, None, None, dry_run=True, **given)
    _same(first, dry, "a dry run says something else")
    _same(first, _look(sensor, None, None, **given), "after a dry run a look says something else")
    if not deliveries:
        rest = _look(sensor, first.cursor, first.ledger, **given)
        assert not _said(rest), f"a second look at the same world finds news: {_said(rest)[:_SHOWN]}"
        _assert_boundaries(sensor, first, given)
    _assert_closes(sensor)
    return first if arrive is None else _assert_hints(sensor, arrive, first, given)


def assert_imports_quietly(module: str) -> None:
    """Raise `AssertionError` where importing a plugin's module connects, starts a process or leaves a thread."""
    code = _QUIET.format(path=[one for one in sys.path if one], module=module)
    ended = subprocess.run(  # this interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, f"{module}: {ended.stderr.strip()[-500:]}"


def _assert_hints(
    sensor: Sensor, arrive: Callable[[], Iterable[str] | None], first: Ticked, given: dict[str, Any]
) -> Ticked:
    told = arrive()
    hints = None if told is None else tuple(told)
    full = _look(sensor, first.cursor, first.ledger, **given)
    hinted = _look(sensor, first.cursor, first.ledger, hints=hints, **given)
    more = [one for one in _said(hinted) if one not in _said(full)]
    assert not more, f"a look at the hints {hints} says more than a full one: {more[:_SHOWN]}"
    left = _look(sensor, hinted.cursor, hinted.ledger, **given)
    found = sorted([*_said(hinted), *_said(left)])
    assert found == sorted(_said(full)), "what the hints left out is not found by the full look after it, or twice"
    return full


def _assert_boundaries(sensor: Sensor, whole: Ticked, given: dict[str, Any]) -> None:
    """Stop after each checkpoint in turn, and go on from what was committed up to there."""
    for upto in range(1, whole.checkpoints + 1):
        part = _look(sensor, None, None, ends_at=upto, **given)
        rest = _look(sensor, part.cursor, part.ledger, **given)
        both = sorted([*_said(part), *_said(rest)])
        expected = sorted(_said(whole))
        assert both == expected, f"ended at checkpoint {upto}, it loses or repeats: {_differing(expected, both)}"


def _assert_closes(sensor: Sensor) -> None:
    """Count `open()` and `close()` around a look that fails."""
    if ability(sensor, "open") is None and ability(sensor, "close") is None:
        return
    calls: list[str] = []
    with _Instead(sensor, calls):
        try:
            tick(sensor)
        except _Broken:
            pass
        else:
            raise AssertionError("the look did not fail")
    assert calls.count("close") >= calls.count("open"), "close() does not follow open() where the look fails"


class _Broken(Exception):
    """The failure that a look is given."""


class _Instead:
    """While it lasts, `evaluate` fails, and what is called is noted."""

    def __init__(self, sensor: Any, calls: list[str]) -> None:
        self._sensor, self._calls = sensor, calls
        self._names: list[str] = []

    def __enter__(self) -> None:
        def evaluate(ctx: Any) -> None:
            raise _Broken

        self._put("evaluate", evaluate)
        for name in ("open", "close"):
            if (own := getattr(self._sensor, name, None)) is not None:
                self._put(name, self._noted(name, own))

    def _noted(self, name: str, own: Callable[[], Any]) -> Callable[[], Any]:
        def noted() -> Any:
            self._calls.append(name)
            return own()

        return noted

    def _put(self, name: str, function: Any) -> None:
        self._sensor.__dict__[name] = function
        self._names.append(name)

    def __exit__(self, *_: object) -> None:
        for name in self._names:
            del self._sensor.__dict__[name]


def _look(sensor: Sensor, cursor: Json, ledger: Seen | None, **more: Any) -> Ticked:
    known: Any = () if ledger is None else ledger
    found = tick(sensor, cursor, ledger=known, **more)
    text = json.dumps(found.cursor, allow_nan=False)
    assert json.loads(text) == found.cursor, f"the cursor is no plain JSON: {found.cursor!r}"
    return found


def _same(one: Ticked, other: Ticked, problem: str) -> None:
    first, second = _said(one), _said(other)
    assert first == second, f"{problem}: {_differing(first, second)}"


def _differing(one: list[str], other: list[str]) -> str:
    """The first few things that only one of two looks says; where both say the same, its order."""
    more, less = (
        [item for item, count in (Counter(first) - Counter(second)).items() for _ in range(count)][:_SHOWN]
        for first, second in ((one, other), (other, one))
    )
    if not more and not less:
        return "the order is another"
    return f"of {len(one)} things {more or 'none'} were missing, and {less or 'none'} of {len(other)} were new"


def _said(found: Ticked) -> list[str]:
    """What a look asks for, item by item."""
    keys = [f"+{delta.set}/{key}" for delta in found.partitions for key, _ in delta.add]
    gone = [f"-{delta.set}/{key}" for delta in found.partitions for key in delta.delete]
    return [*keys, *gone, *map(repr, found.runs), *map(repr, found.reports), *map(repr, found.deliveries)]
