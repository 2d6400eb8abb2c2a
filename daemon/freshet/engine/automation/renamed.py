"""What conditions remember under names that are others now: of what lies above, and in the conditions themselves.

A key of memory names what is above it, and its node by the expression, which may name assets too. Names that `was=`
declares are looked for whenever memory is loaded or definitions change: nothing else has to know that they changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from freshet.definitions.condition import (
    AllDepsMatch,
    AnyDepsMatch,
    AssetMatches,
    AutomationCondition,
    Selection,
    WhenDepsReady,
)
from freshet.engine.automation.memory import Memory
from freshet.engine.automation.program import Program

__all__ = ["carry"]

_Names = Mapping[str, str]


def carry(memory: Mapping[str, Memory], programs: Mapping[str, Program], names: _Names) -> None:
    """Let all memory go by the new names. `names`: the new ones by the old ones. Done twice, it changes nothing."""
    if not names:
        return
    known: dict[int, Callable[[str], str]] = {}
    for asset, program in programs.items():
        if (one := memory.get(asset)) is not None:
            key_of = known.get(id(program))
            if key_of is None:
                key_of = known[id(program)] = _key_of(program, names)
            one.move(key_of)


def _key_of(program: Program, names: _Names) -> Callable[[str], str]:
    nodes = _nodes(program, {new: old for old, new in names.items()})

    def key_of(key: str) -> str:
        *path, last = key.split("/")
        node, dot, rest = last.partition(".")
        bare, equals, value = node.partition("=")
        return "/".join([*(names.get(one, one) for one in path), nodes.get(bare, bare) + equals + value + dot + rest])

    return key_of


def _nodes(program: Program, before: _Names) -> dict[str, str]:
    """The keys of its nodes by those that they had when assets had the names of `before`."""
    condition = program.root.condition
    old = _renamed(condition, before)
    if old == condition:
        return {}
    was = Program(old)
    found = {mine.key: node.key for mine, node in zip(was.nodes, program.nodes, strict=True)}
    return found | {
        was.first_key: program.first_key,
        was.root_key: program.root_key,
        was.mark_key: program.mark_key,
    }


def _renamed(condition: AutomationCondition, names: _Names) -> AutomationCondition:
    kids = condition.children()
    if kids:
        condition = condition.with_children([_renamed(kid, names) for kid in kids])
    if isinstance(condition, AssetMatches):
        return replace(condition, asset=names.get(condition.asset, condition.asset))
    if isinstance(condition, (AnyDepsMatch, AllDepsMatch, WhenDepsReady)):
        deps = condition.deps
        allow = None if deps.allow is None else tuple(names.get(one, one) for one in deps.allow)
        return replace(condition, deps=Selection(allow, tuple(names.get(one, one) for one in deps.ignore)))
    return condition
