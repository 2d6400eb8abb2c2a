"""What was called otherwise before: `was="old_name"`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from freshet.definitions.source import Source
from freshet.errors import DefinitionError

__all__ = ["Renamed", "renamed_twice", "renames"]


class Renamed(Protocol):
    """What may have had another name."""

    @property
    def name(self) -> str:
        """Now."""
        ...

    @property
    def was(self) -> str | None:
        """Before."""
        ...

    @property
    def source(self) -> Source | None:
        """Where it is declared."""
        ...


def renames(specs: Iterable[Renamed]) -> dict[str, str]:
    """The new names by the old ones."""
    return {one.was: one.name for one in specs if one.was is not None and one.was != one.name}


def renamed_twice(*kinds: Sequence[Renamed]) -> Iterator[DefinitionError]:
    """What is said to have had a name that is another's still, or was another's too."""
    for specs in kinds:
        names, taken = {one.name for one in specs}, dict[str, str]()
        for one in specs:
            if one.was is None or one.was == one.name:
                continue
            file, line = (one.source.file, one.source.line) if one.source else (None, None)
            if one.was in names:
                message = f"{one.name}: was={one.was!r}, which is declared still"
                yield DefinitionError(message, hint="leave out was=, or that one", file=file, line=line)
            elif one.was in taken:
                message = f"{one.name}: was={one.was!r}, and so was {taken[one.was]!r}"
                yield DefinitionError(message, hint="one name goes to one", file=file, line=line)
            taken.setdefault(one.was, one.name)
