"""First looks at assets to which nothing has ever happened: of the same condition, they all come to the same.

A hundred thousand assets are new at once where plugins are loaded for the first time. One of a kind is looked at; the
others take over what it remembers.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any, TypeGuard

from freshet.definitions.condition import (
    AllDepsMatch,
    And,
    AnyDepsMatch,
    AutomationCondition,
    NewlyTrue,
    Not,
    Operand,
    Or,
    Since,
    WhenDepsReady,
)
from freshet.engine.automation.memory import Memory
from freshet.engine.automation.moment import Moment
from freshet.engine.automation.program import Program
from freshet.engine.automation.state import World
from freshet.store.records import ConditionChunk

__all__ = ["Alike", "uniform"]

_Kind = tuple[Program, bool]
"""The condition, and whether there is a dependency."""

_BARE = (Operand, And, Or, Not)
_DEPS = (AnyDepsMatch, AllDepsMatch)
_NODES = (*_BARE, *_DEPS, Since, NewlyTrue, WhenDepsReady)
_KNOWN = frozenset({"operand", "operands", "trigger", "reset", "label", "max_wait"})
_FACTS = frozenset(
    {
        "missing",
        "in_progress",
        "execution_failed",
        "newly_updated",
        "newly_requested",
        "newly_missing",
        "newly_handled",
        "will_be_requested",
        "initial_evaluation",
        "code_version_changed",
        "data_version_changed",
    }
)


def uniform(condition: AutomationCondition) -> bool:
    """Whether it asks for nothing but what happened to the asset and to those next above it, and remembers nothing of
    those: not for names, times, policies, or anything further up. Only what is known here passes."""
    if isinstance(condition, Operand):
        return condition.kind in _FACTS
    if not _known(condition):
        return False
    if isinstance(condition, _DEPS):
        return _bare(condition.operand)
    return all(map(uniform, condition.children()))


def _bare(condition: AutomationCondition) -> bool:
    if isinstance(condition, Operand):
        return condition.kind in _FACTS
    return isinstance(condition, _BARE) and _known(condition) and all(map(_bare, condition.children()))


def _known(condition: AutomationCondition) -> bool:
    """One of the nodes above, with nothing set that this file does not know."""
    if type(condition) not in _NODES:
        return False
    given = (one for one in fields(condition) if one.name not in _KNOWN)  # type: ignore[arg-type]  # every node is one
    return all(getattr(condition, one.name) == _default(one) for one in given)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


class Alike:
    """The kinds found in one look, each with what one of them came to remember: only of those that asked for nothing
    and wait for no time. `chunks`: what is to be written."""

    def __init__(self, world: World, moment: Moment) -> None:
        self.chunks: list[ConditionChunk] = []
        self._world = world
        self._moment = moment
        self._uniform: dict[Program, bool] = {}
        self._models: dict[_Kind, tuple[Memory, tuple[ConditionChunk, ...]]] = {}

    def kind(self, asset: str, program: Program) -> _Kind | None:
        """Of an asset that is looked at for the first time; None where anything happened to it or to what it depends
        on, where partitions are concerned, and where the condition asks for more than that."""
        topology = self._world.topology
        if topology.set_of[asset] is not None:
            return None
        known = self._uniform.get(program)
        if known is None:
            known = self._uniform[program] = uniform(program.root.condition)
        if not known:
            return None
        edges = topology.edges[asset]
        for edge in edges:
            if edge.kind != "same":
                return None
        if (self._moment.pulses or not self._world.quiet) and (
            self._eventful(asset) or any(self._eventful(edge.asset) for edge in edges)
        ):
            return None
        return program, bool(edges)

    def _eventful(self, asset: str) -> bool:
        return asset in self._moment.pulses or not self._world.untouched(asset)

    def learn(self, kind: _Kind, asset: str, memory: Memory) -> None:
        """What one of a kind remembers after its look, in which it asked for nothing."""
        if not memory.timed:
            chunks = tuple(memory.flush(asset))
            self._models[kind] = memory, chunks
            self.chunks += chunks

    def known(self, kind: _Kind | None) -> TypeGuard[_Kind]:
        """Whether it is a kind of which one has been looked at."""
        return kind in self._models

    def follow(self, kind: _Kind, asset: str, memory: Memory) -> None:
        """Let another one of a known kind remember the same."""
        model, chunks = self._models[kind]
        memory.take(model)
        for _, node, chunk, bits in chunks:
            self.chunks.append(ConditionChunk(asset, node, chunk, bits))
