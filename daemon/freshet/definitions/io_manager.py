"""I/O managers: how values become bytes, and stores: where the bytes lie. Both are named in `@asset(io=)`."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from freshet.definitions.names import check_name
from freshet.definitions.source import Source, caller_source, collect
from freshet.errors import DefinitionError

__all__ = ["IOManager", "ValueStore"]


class IOManager:
    """How a value is kept. A subclass in a plugin that has a `name` is what `@asset(io="NAME")` means:

        class Csv(IOManager):
            name = "csv"

            def dumps(self, value):
                return "\\n".join(",".join(row) for row in value).encode()

            def loads(self, data, wanted):
                return [line.split(",") for line in data.decode().split("\\n")]

    It is made without arguments, once for each process, and used by workers alone. What it writes is kept once,
    atomically, with its size and hash, as with the built-in ones. One that keeps the data elsewhere returns what finds
    it again. `name` is also how its files end.
    """

    name: ClassVar[str] = ""
    source: ClassVar[Source | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__dict__.get("name") and not cls.__module__.startswith("freshet."):
            check_name(cls.name, what="I/O manager")
            cls.source = caller_source()
            for method in (IOManager.dumps, IOManager.loads):
                if getattr(cls, method.__name__) is method:
                    _lacks(cls, method.__name__)
            collect(cls)

    def fits(self, value: Any) -> bool:
        """Whether it is to keep this value where `@asset` names no `io`. False unless overridden."""
        return False

    def dumps(self, value: Any) -> bytes:
        """The value as bytes. Whatever is raised fails the step, which then says so."""
        raise NotImplementedError(f"{type(self).__name__}.dumps(value) is to give bytes")

    def loads(self, data: bytes, wanted: Any) -> Any:
        """The value again. `wanted`: the annotation of the parameter that takes it, `Any` where there is none; what
        this returns is held against it."""
        raise NotImplementedError(f"{type(self).__name__}.loads(data, wanted) is to give the value")


def _lacks(manager: type[IOManager], method: str) -> NoReturn:
    """What it keeps could not be had again."""
    place = manager.source
    raise DefinitionError(
        f"the I/O manager {manager.__name__} has no {method}",
        hint="write both: dumps(self, value) gives bytes, loads(self, data, wanted) the value again",
        file=place.file if place else None,
        line=place.line if place else None,
    )


class ValueStore:
    """A place for values other than the state directory, under a name: `io="NAME"`, or `io="NAME:FORMAT"` to name the
    I/O manager, too. Made where a plugin declares it; what it opens, it opens when it is first used, in a worker.

    `needs`: modules that workers find imported.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str) -> None:
        self.name = check_name(name, what="value store")
        self.source = caller_source()
        collect(self)

    def write(self, path: str, data: bytes) -> None:
        """Keep `data` under `path` (`ASSET/PARTITION/RUN-ATTEMPT.FORMAT`), whole or not at all; durable on return.
        No path is written twice, but by the same attempt."""
        raise NotImplementedError(f"{type(self).__name__}.write(path, data) is to keep the bytes")

    def read(self, path: str) -> bytes:
        """What was written. Raises `FileNotFoundError` where nothing was, or it is gone."""
        raise NotImplementedError(f"{type(self).__name__}.read(path) is to give the bytes that were written")
