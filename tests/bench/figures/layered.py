"""A plugin with a graph in layers: two parents each, and all below the first layer are eager."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from tests.bench.lab import Lab

__all__ = ["ask", "layered_plugin"]


def layered_plugin(layers: int, width: int, *, executor: str = "process") -> dict[str, str]:
    """The asset (layer, number), by the name `aLAYER_NUMBER`, is below (layer - 1, number) and the one beside it."""
    define = "async def" if executor == "inline" else "def"
    text = f"""\
from freshet import AutomationCondition, asset

eager = AutomationCondition.eager()


def make(layer, number):
    above = [f"a{{layer - 1}}_{{one % {width}}}" for one in (number, number + 1)] if layer else []

    @asset(name=f"a{{layer}}_{{number}}", deps=above, automation=eager if layer else None, executor="{executor}")
    {define} made():
        return 1

    return made


made = [make(layer, number) for layer in range({layers}) for number in range({width})]
"""
    return {"layered.py": text}


def ask(lab: Lab, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of the daemon's database, which it does not notice."""
    with closing(sqlite3.connect(f"file:{lab.root / 'state' / 'freshet.db'}?mode=ro", uri=True)) as db:
        return db.execute(query, values).fetchall()
