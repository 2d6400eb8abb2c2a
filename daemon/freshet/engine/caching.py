"""Whether a step needs to run: what it would make may have been made before, of the same inputs by the same code.

All that a key is made of is known here: so a hit takes no worker. A step of an asset without `cache=` never comes here.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
from pyroaring import BitMap

from freshet.definitions.asset import AssetSpec
from freshet.definitions.cache import CacheSpec
from freshet.engine.instruments import Instruments, recall
from freshet.engine.partitions.graph import PartitionGraph
from freshet.executors.base import StepEnd
from freshet.store.caching import CachedValue, clear_cache, find_cached, generation_of, versions_of
from freshet.store.records import StepToRun, ValueRef

__all__ = ["Caching", "cache_key"]

StepId = tuple[int, int]


class Caching:
    """Looks for what a step would make, and remembers under which key to keep what it makes. `values_dir`: a value that
    is no longer there is no hit; None: nobody looks."""

    def __init__(self, instruments: Instruments, values_dir: Path | None) -> None:
        self._in = instruments
        self._values_dir = values_dir
        self._keys: dict[StepId, tuple[str, str, str | None]] = {}

    def rule(self, step: StepToRun) -> CacheSpec | None:
        """The asset's `cache=`."""
        spec = self._in.in_force.definitions.asset.get(step.name) if step.kind == "asset" else None
        return None if spec is None else spec.cache

    async def find(self, step: StepToRun) -> StepEnd | None:
        """The end of a step that need not run. `step`: with all its inputs."""
        graph = self._in.in_force.partitions
        spec = graph.definitions.asset.get(step.name)
        if spec is None or spec.cache is None:
            return None
        since = None if spec.cache.ttl is None else self._in.clock.now() - spec.cache.ttl
        query = partial(_look_up, step=step, spec=spec, beside=_beside(graph, spec, step), since=since)
        key, found = await recall(self._in, query, what=f"what was made before run {step.run_id}")
        if self._in.in_force.partitions is not graph:
            return await self.find(step)  # other definitions are in force by now
        if found is not None and self._is_there(found.value):
            return StepEnd(
                step.run_id,
                step.position,
                step.attempt,
                "succeeded",
                value=found.value,
                metadata=found.metadata,
                version=found.version,
                # Code that does not count: as if that of now had made it, for conditions that follow code.
                code=found.code if spec.cache.code else spec.code_version,
                cached=found.run_id,
            )
        self._keys[step.run_id, step.position] = step.name, key, spec.code_version
        return None

    def ended(self, end: StepEnd) -> str | None:
        """Under which key to keep what a step has made; None where it is not to be kept."""
        _, key, code = self._keys.pop((end.run_id, end.position), ("", None, None))
        return key if end.outcome == "succeeded" and end.cached is None and end.code == code else None

    async def clear(self, asset: str, key: str | None) -> int:
        """Forget what was made of an asset, or of one partition of it; of what is under way, too, nothing is kept."""
        for step_id in [step_id for step_id, (name, _, _) in self._keys.items() if name == asset]:
            del self._keys[step_id]
        return await self._in.store.write(partial(clear_cache, asset=asset, key=key))

    def _is_there(self, ref: ValueRef | None) -> bool:
        """In a store that is far away, it is believed."""
        if ref is None or not ref.path or ":" in ref.io or self._values_dir is None:
            return True
        try:
            return (self._values_dir / ref.path).stat().st_size == ref.size
        except OSError:
            return False


def _beside(graph: PartitionGraph, spec: AssetSpec, step: StepToRun) -> dict[str, BitMap]:
    """The partitions of upstreams that the function takes no value of."""
    found: dict[str, BitMap] = {}
    for dep in spec.deps:
        if dep.argument is None:
            whole = graph.definitions.asset[dep.asset].partitions is None
            own = BitMap([step.partition])
            found[dep.asset] = BitMap([0]) if whole else graph.above(step.name, dep.asset, own)
    return found


def _look_up(
    db: sqlite3.Connection, *, step: StepToRun, spec: AssetSpec, beside: dict[str, BitMap], since: float | None
) -> tuple[str, CachedValue | None]:
    assert spec.cache is not None, "only of an asset that has a rule"
    counted = beside if spec.cache.inputs else {}
    versions = {asset: versions_of(db, asset, numbers) for asset, numbers in counted.items()}
    key = cache_key(spec, step, versions, generation=generation_of(db, step.set, step.partition))
    return key, find_cached(db, step.name, step.partition, key, since)


def cache_key(spec: AssetSpec, step: StepToRun, versions: dict[str, list[tuple[int, str]]], *, generation: int) -> str:
    """32 hex digits of all that a step is made of, as its rule has it. `versions`: of the upstreams that it takes no
    value of."""
    assert spec.cache is not None, "only of an asset that has a rule"
    inputs: dict[str, Any] = {}
    if spec.cache.inputs:
        for asset, refs in step.inputs.items():
            inputs[asset] = [[key, ref.io, ref.digest] for key, ref in refs.items()], step.missing.get(asset, ())
    said = {
        "code": spec.code_version if spec.cache.code else None,
        "inputs": inputs,
        "versions": versions,
        "partition": [step.key, generation, step.partition_metadata],
        "params": step.params,
    }
    return blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
