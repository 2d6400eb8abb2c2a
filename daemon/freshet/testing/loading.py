"""`plugin(path)`: a plugin file as a module, for tests, and the definitions that stand in it."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from freshet.definitions.asset import Asset
from freshet.definitions.check import Check
from freshet.definitions.external import ExternalAsset
from freshet.definitions.io_manager import IOManager
from freshet.definitions.job import Job
from freshet.definitions.resource import Resource
from freshet.definitions.schedule import Schedule
from freshet.definitions.sensor import Sensor
from freshet.definitions.source import PLUGIN_PACKAGE, collecting
from freshet.definitions.tables import Tables
from freshet.errors import DefinitionError
from freshet.host.plugin_settings import use

__all__ = ["Plugin", "definitions_of", "plugin", "with_settings"]

Plugin = str | Path | ModuleType | Iterable[object]
"""A plugin's file, its module, or the definitions themselves: assets, sensors, jobs, schedules, checks, resources."""

_KINDS = (Asset, Check, ExternalAsset, IOManager, Job, Resource, Schedule, Sensor)
_COLLECTED = "__freshet_definitions__"
_loads = itertools.count(1)


def plugin(path: str | Path) -> ModuleType:
    """Execute a plugin file, anew each time, and return its module: `plugin("plugins/orders.py").landing`.

    Its folder is where its `import` of other plugins looks, as in the daemon. Raises `DefinitionError` where there is
    no such file, and whatever the file raises.
    """
    file = Path(path).resolve()
    found = file / "__init__.py" if file.is_dir() else file
    name = f"{PLUGIN_PACKAGE}_tested_{next(_loads)}_{file.stem}"
    folders = [str(file)] if file.is_dir() else None
    spec = importlib.util.spec_from_file_location(name, found, submodule_search_locations=folders)
    if not found.is_file() or spec is None or spec.loader is None:
        raise DefinitionError(f"{path}: no such plugin", hint="give the path of a .py file, or of a package's folder")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and typing look there
    sys.path.append(str(file.parent))  # last: a plugin called csv.py is no library
    try:
        with collecting() as definitions:
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(file.parent))
    setattr(module, _COLLECTED, tuple(dict.fromkeys(definitions)))
    return module


def definitions_of(given: Plugin) -> list[object]:
    """What a plugin declares. Of a module that was imported otherwise: what it has names for."""
    if isinstance(given, str | Path):
        given = plugin(given)
    if not isinstance(given, ModuleType):
        return list(given)
    collected: tuple[object, ...] | None = getattr(given, _COLLECTED, None)
    if collected is not None:
        return list(collected)
    return list(dict.fromkeys(one for one in vars(given).values() if isinstance(one, _KINDS)))


@contextmanager
def with_settings(**tables: Mapping[str, Any]) -> Generator[None]:
    """While it lasts, `settings("orders", ...)` of plugins answers from `orders=`, as from `[plugins.orders]`.

        with with_settings(orders={"bucket": "test", "token": "no secret"}):
            orders = plugin("plugins/orders.py")

    Plain data, as TOML has it; what is a secret may stand in it itself. Elsewhere in tests the configuration is empty.
    """
    before = use(Tables(tables, file="with_settings", plain=True))
    try:
        yield
    finally:
        use(before)
