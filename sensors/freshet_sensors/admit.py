"""What a sensor says of the files or objects it takes: partitions, runs, and what goes into the ledger with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from freshet import (
    AddPartitions,
    DeletePartitions,
    DynamicPartitions,
    PartitionKeyError,
    RunRequest,
    SensorContext,
    check_key,
)
from freshet_sensors.pattern import KeyTemplate, Pattern
from freshet_sensors.scan import NO_TEXT, File, entry_of, readable

__all__ = ["Item", "Rules", "Said", "admit", "arrive", "key_of"]

Said = AddPartitions | DeletePartitions | RunRequest


class Found(Protocol):
    """A file or an object as a look met it. `version` tells one content from the next; `run_key`: of the run for it."""

    @property
    def version(self) -> str: ...

    @property
    def run_key(self) -> str: ...

    def metadata(self, root: str) -> dict[str, Any]:
        """What a partition gets to know of it."""
        ...


class Item(NamedTuple):
    """What a look has decided on: a file or object to take, or (`file` None) a path to forget."""

    path: str
    file: Found | None


@dataclass(frozen=True)
class Rules:
    """What the user asked for. `on`: created, modified, deleted. `noun`: what is watched, for tags and the log.
    `templated`: the sensor's template `run_key=` names the runs."""

    pattern: Pattern
    key: KeyTemplate
    partitions: DynamicPartitions | None
    target: str | None
    on: frozenset[str]
    retire: bool
    noun: str = "file"
    templated: bool = False


def key_of(rules: Rules, path: str) -> str:
    """The partition key of a file that is meant. Raises `PartitionKeyError`."""
    if readable(path) != path:
        raise PartitionKeyError(f"the name {readable(path)} is no UTF-8", hint="rename the file")
    fields = rules.pattern.match(path)
    if fields is None:
        raise PartitionKeyError(f"{path} is not meant by the pattern {rules.pattern.text!r}")
    key = rules.key.key(path, fields)
    return check_key(key) if rules.partitions is not None else key


def admit(
    ctx: SensorContext, rules: Rules, root: str, items: Sequence[Item], *, left: frozenset[str], again: int
) -> Iterator[Said]:
    """One piece of a look. Each file goes into the ledger, with what is said of it or without.

    `left`: the keys that files still have, which are not retired. `again`: how often this sensor has retired keys: a
    file that comes back unchanged after that is to be admitted again, so its run key has to be another.
    """
    retired = [key for item in items if item.file is None and (key := _retired(rules, item.path, left)) is not None]
    if retired and rules.partitions is not None:
        yield DeletePartitions(rules.partitions, retired)
    added: dict[str, dict[str, Any]] = {}
    runs: list[RunRequest] = []
    for path, file in items:
        if file is None:
            ctx.ledger.remove(path)
            if path.startswith(NO_TEXT):  # passed over when it came
                continue
            if "deleted" in rules.on and rules.partitions is None and rules.target is not None:
                runs.append(RunRequest(rules.target, tags={rules.noun: path, "change": "deleted"}))
            continue
        entry = entry_of(path)
        change = "modified" if entry in ctx.ledger else "created"
        ctx.ledger.add(entry, file.version)
        if change not in rules.on:
            continue
        try:
            key = key_of(rules, path)
        except PartitionKeyError as error:
            passed = {rules.noun: readable(path), "reason": error.message, "hint": error.hint}
            ctx.log.warning(f"{rules.noun} passed over", **passed)
            continue
        added[key] = file.metadata(root)
        if rules.target is not None:
            runs.append(_run(rules, path, file, key, change, again))
    if added and rules.partitions is not None:
        yield AddPartitions(rules.partitions, added)
    yield from runs


def arrive(rules: Rules, root: str, path: str, at: float) -> Iterator[Said]:
    """What would be said of a file that is meant and arrives at `at`: empty, and created wherever that counts.

    Raises `PartitionKeyError` for a file that would be passed over.
    """
    change = next((one for one in ("created", "modified") if one in rules.on), None)
    if change is None:
        return
    file, key = File(path, 0, round(at * 1e9), 0), key_of(rules, path)
    if rules.partitions is not None:
        yield AddPartitions(rules.partitions, {key: file.metadata(root)})
    if rules.target is not None:
        yield _run(rules, path, file, key, change, 0)


def _run(rules: Rules, path: str, file: Found, key: str, change: str, again: int) -> RunRequest:
    run_key = None if rules.templated else file.run_key + (f"#{again}" if again else "")
    if rules.partitions is None:
        return RunRequest(rules.target, run_key=run_key, tags={rules.noun: path, "change": change})
    return RunRequest(rules.target, partition=key, run_key=run_key)


def _retired(rules: Rules, path: str, left: frozenset[str]) -> str | None:
    """The key that goes with a path that has gone; None where it stays."""
    if not rules.retire or not rules.pattern.matches(path):
        return None
    try:
        key = key_of(rules, path)
    except PartitionKeyError:
        return None
    return None if key in left else key
