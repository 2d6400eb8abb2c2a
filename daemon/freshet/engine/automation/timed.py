"""`Recently`, `Debounce` and `Batch`: what has come true, over time. It goes by when transactions were committed."""

from __future__ import annotations

from collections.abc import Callable

from pyroaring import BitMap

from freshet.definitions.condition import Batch, Debounce, Recently
from freshet.engine.automation.lasting import lasting
from freshet.engine.automation.look import Look, Scope
from freshet.engine.automation.memory import Stamps, round_up
from freshet.engine.automation.program import Node

__all__ = ["batch", "debounce", "recently"]

_GRAIN = 64
"""Times are rounded up to this part of what is waited for."""
Values = Callable[[Look, Node, Scope], BitMap]


def recently(look: Look, node: Node, condition: Recently, scope: Scope, true: BitMap) -> BitMap:
    """Those of which the operand is `true`, and those of which it was. Remembered: of which it was (`.was`), and until
    when that counts of those of which it is no longer."""
    memory = look.memory
    ends = _instants(look, node, scope, ".ends")
    ended = (memory.get(look.key(node, scope, ".was")) & scope.candidates) - true
    memory.assign(look.key(node, scope, ".was"), scope.candidates, true)
    ends.clear((true | ends.until(look.moment.time)) & scope.candidates)
    ends.put(_after(look, condition.within), ended)
    return true | ends.known(scope.candidates)


def debounce(look: Look, node: Node, condition: Debounce, scope: Scope, true: BitMap, value: Values) -> BitMap:
    """Those that have not come true for long enough. Remembered: until when each must not (`.pause`), and when it has
    waited for the longest time (`.latest`). What comes true as the time is over is part of that."""
    quiet, latest = _instants(look, node, scope, ".pause"), _instants(look, node, scope, ".latest")
    time = look.moment.time
    over = (quiet.until(time) | latest.until(time)) & scope.candidates
    lasts = lasting(look, node.kids[0], scope)
    gone = over | (lasts - true)
    quiet.clear(gone)
    latest.clear(gone)
    came = _came(look, node, scope, true, value) - over
    if came:
        if condition.max_wait is not None:
            latest.put(_after(look, condition.max_wait), came - quiet.known(came))
        quiet.put(_after(look, condition.quiet), came)
    return (over - lasts) | ((true & lasts) - quiet.known(true))


def batch(look: Look, node: Node, condition: Batch, scope: Scope, true: BitMap, value: Values) -> BitMap:
    """Those that came true often enough, or first so long ago. Remembered: how often (`.count`), and until when the
    others are waited for (`.first`). What comes true as the time is over is part of that."""
    count, first = look.memory.stamps(look.key(node, scope, ".count")), _instants(look, node, scope, ".first")
    over = first.until(look.moment.time) & scope.candidates
    lasts = lasting(look, node.kids[0], scope)
    gone = over | (lasts - true)
    count.clear(gone)
    first.clear(gone)
    came = _came(look, node, scope, true, value) - over
    if came:
        begun, full = came - count.known(came), BitMap()
        for number, bits in [(0.0, begun), *count.items(came)]:
            if condition.count is not None and number + 1 >= condition.count:
                full |= bits
            else:
                count.put(number + 1 if condition.count is not None else 1.0, bits)
        if condition.within is not None:
            first.put(_after(look, condition.within), begun - full)
        count.clear(full)
        first.clear(full)
        over = over | full
    return (over - lasts) | ((true & lasts) - count.known(true))


def _came(look: Look, node: Node, scope: Scope, true: BitMap, value: Values) -> BitMap:
    """Those that have come true in this look: `true` and not before (`.was`), or with what a `since` waits for."""
    key = look.key(node, scope, ".was")
    came = true - look.memory.get(key)
    look.memory.assign(key, scope.candidates, true)
    for trigger in node.triggers:
        came = came | (true & (value(look, trigger, scope) - lasting(look, trigger, scope)))
    return came


def _instants(look: Look, node: Node, scope: Scope, part: str) -> Stamps:
    return look.memory.stamps(look.key(node, scope, part + Stamps.INSTANT), deadline=True)


def _after(look: Look, seconds: float) -> float:
    return round_up(look.moment.time + seconds, seconds / _GRAIN)
