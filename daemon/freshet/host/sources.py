"""The plugin files as they stood at one moment, and the import hook that loads them from there.

All `*.py` below the plugins folder are read once, and with them what the configuration says to plugins. What is
loaded, hashed and (in spawn mode) loaded again by each new worker is that snapshot: an edit under way never gives half
of one version and half of another, and a broken edit does not reach workers of the last good one.

`orders.py` becomes the module `freshet_plugins.orders`; another plugin's `import orders` gives the same module, unless
something installed is called `orders`. Nothing is compiled to disk.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING

import orjson

from freshet.definitions.source import PLUGIN_PACKAGE
from freshet.definitions.tables import Tables

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder
else:  # with these come temporary files and all kinds of archives, which every worker would have a copy of
    Loader = MetaPathFinder = object

__all__ = ["PACKAGE", "PluginFinder", "Sources"]

PACKAGE = PLUGIN_PACKAGE
"""The package under which plugins are in `sys.modules`."""


class Sources:
    """File contents by path relative to `root`, with forward slashes. `unreadable`: the same, with the reason."""

    def __init__(
        self,
        root: Path,
        files: Mapping[str, bytes],
        unreadable: Mapping[str, str] | None = None,
        tables: Tables | None = None,
    ) -> None:
        self.root = root
        self.files = dict(files)
        self.unreadable = dict(unreadable or {})
        self.tables = tables or Tables()

    @classmethod
    def read(cls, root: Path, tables: Tables | None = None) -> Sources:
        """All Python files below `root`; hidden files and folders are left out. A missing folder holds none."""
        files, unreadable = dict[str, bytes](), dict[str, str]()
        for path in sorted(root.rglob("*.py")):
            relative = path.relative_to(root)
            if any(part.startswith(".") or part == "__pycache__" for part in relative.parts):
                continue
            try:
                files[relative.as_posix()] = path.read_bytes()
            except IsADirectoryError:
                continue
            except OSError as error:
                unreadable[relative.as_posix()] = error.strerror or str(error)
        return cls(root, files, unreadable, tables)

    def dump(self) -> bytes:
        """The snapshot as bytes, for another process."""
        texts = {name: base64.b64encode(content).decode() for name, content in self.files.items()}
        told = {"root": str(self.root), "files": texts, "unreadable": self.unreadable}
        return orjson.dumps({**told, "tables": self.tables} if self.tables.values else told)

    @classmethod
    def restore(cls, data: bytes) -> Sources:
        """The snapshot that `dump` gave."""
        told = orjson.loads(data)
        files = {name: base64.b64decode(text) for name, text in told["files"].items()}
        tables = Tables(**told["tables"]) if "tables" in told else None
        return cls(Path(told["root"]), files, told["unreadable"], tables)

    @property
    def version(self) -> str:
        """16 hex digits that change with any file's name or content, and with what the configuration says."""
        digest = hashlib.blake2b(digest_size=8)
        for name, content in sorted(self.files.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        if self.tables.values:
            digest.update(b"\0" + orjson.dumps(self.tables.values, option=orjson.OPT_SORT_KEYS))
        return digest.hexdigest()

    @property
    def plugins(self) -> dict[str, str]:
        """What is to be loaded, in order: the module name within `PACKAGE`, and its file."""
        found: dict[str, str] = {}
        for name in sorted({*self.files, *self.unreadable}):
            parts = PurePosixPath(name).parts
            if len(parts) == 1 and name != "__init__.py":
                found.setdefault(name.removesuffix(".py"), name)
            elif len(parts) == 2 and parts[1] == "__init__.py":
                found[parts[0]] = name
        return found

    def path(self, name: str) -> str:
        """The absolute path of a file."""
        return str(self.root / name)

    def locate(self, dotted: str) -> tuple[str | None, str | None]:
        """The file of the module `dotted` (within the folder), and the folder it is a package of; None for what it
        is not."""
        base = dotted.replace(".", "/")
        if f"{base}/__init__.py" in self.files:
            return f"{base}/__init__.py", base
        if f"{base}.py" in self.files:
            return f"{base}.py", None
        return None, base if any(name.startswith(f"{base}/") for name in self.files) else None


class _SnapshotLoader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, sources: Sources, file: str) -> None:
        super().__init__(fullname, sources.path(file))
        self._sources = sources
        self._file = file

    def get_data(self, path: bytes | str) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._sources.files[self._file]

    def path_stats(self, path: bytes | str) -> Mapping[str, object]:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise OSError("the snapshot has no bytecode cache")


class _AliasLoader(Loader):
    """`import orders` in a plugin: the module that is `freshet_plugins.orders` already."""

    def __init__(self, real: str) -> None:
        self._real = real
        self._spec: importlib.machinery.ModuleSpec | None = None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._real)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has put the alias's there


class PluginFinder(MetaPathFinder):
    """Finds plugin modules in a snapshot by full name, and below a plain name that is ours."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def install(self) -> None:
        """Put it to use, in this process and for good."""
        sys.meta_path.insert(0, self)
        sys.meta_path.append(_PlainFinder(self._sources, self))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The import system's question."""
        top, _, rest = fullname.partition(".")
        if top == PACKAGE:
            return self.own(fullname, rest)
        if rest and getattr(sys.modules.get(top), "__name__", "").startswith(f"{PACKAGE}."):
            return self.alias(fullname)
        return None

    def own(self, fullname: str, within: str) -> importlib.machinery.ModuleSpec | None:
        """The module called `fullname`, which is `within` the folder."""
        if not within:
            return _folder_spec(fullname, str(self._sources.root))
        file, folder = self._sources.locate(within)
        if file is None:
            return None if folder is None else _folder_spec(fullname, self._sources.path(folder))
        return importlib.util.spec_from_file_location(
            fullname,
            self._sources.path(file),
            loader=_SnapshotLoader(fullname, self._sources, file),
            submodule_search_locations=None if folder is None else [self._sources.path(folder)],
        )

    def alias(self, fullname: str) -> importlib.machinery.ModuleSpec | None:
        """The plugin module, under its plain name."""
        real = f"{PACKAGE}.{fullname}"
        if self.own(real, fullname) is None:
            return None
        return importlib.util.spec_from_loader(fullname, _AliasLoader(real))


class _PlainFinder(MetaPathFinder):
    """Asked last: what nothing installed is called."""

    def __init__(self, sources: Sources, plugins: PluginFinder) -> None:
        self._folder = str(sources.root)
        self._plugins = plugins

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if "." in fullname:
            return None
        found = self._plugins.alias(fullname)
        return found or importlib.machinery.PathFinder.find_spec(fullname, [self._folder])  # an extension module


def _folder_spec(fullname: str, folder: str) -> importlib.machinery.ModuleSpec:
    spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
    spec.submodule_search_locations = [folder]
    return spec
