"""Definitions that are edited in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.engine.rig import Rig, rig

from freshet.executors.base import Answers
from freshet.testing.inline import InlineHost

__all__ = ["Edited", "edited", "load"]


class Edited(InlineHost):
    """A host of whatever lies in `folder` when it is made."""

    folder: list[object] = []  # noqa: RUF012  # one test at a time
    made = 0

    def __init__(self, objects: Any, answers: Answers, **options: Any) -> None:
        Edited.made += 1
        super().__init__(list(Edited.folder), answers, **options, version=f"version {Edited.made}")


@asynccontextmanager
async def edited(folder: Path, *objects: object, **options: Any) -> AsyncGenerator[Rig]:
    """An engine over these objects; `load` edits them."""
    Edited.folder, Edited.made = list(objects), 0
    async with rig(folder, [], host=Edited, **options) as one:
        yield one


async def load(one: Rig, *objects: object) -> str:
    """Edit the folder, and reload."""
    Edited.folder = list(objects)
    done = await one.control.reload()
    await one.settle()
    return done.outcome
