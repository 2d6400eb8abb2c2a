"""`[plugins.NAME]` of the configuration, read anew each time that plugins are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from freshet.configfile import ConfigFile, read_config
from freshet.configuration import Settings, load_settings
from freshet.definitions.tables import Tables, references
from freshet.errors import SettingsError
from freshet.secrets import Secrets

__all__ = ["read_tables", "tables_of"]


def read_tables(path: Path | None) -> Tables:
    """As the file and the environment have them now. Raises `SettingsError` for whatever is wrong in the file, also
    elsewhere: half of a configuration is not taken."""
    return tables_of(load_settings(path), path)


def tables_of(settings: Settings, path: Path | None) -> Tables:
    """Of these settings, which were read from the file at `path`, if there is one. The secrets that they name are shown
    by nothing that this process writes."""
    config = ConfigFile(None, {}) if path is None else read_config(path)
    values: dict[str, dict[str, Any]] = {}
    for name, table in settings.plugins.items():
        try:
            values[name] = orjson.loads(orjson.dumps(table))
        except TypeError as error:  # TOML holds integers beyond 64 bits, and numbers that are none
            place = config.place(("plugins", name)) or "environment"
            raise SettingsError(f"{place}: plugins.{name}: {error}", hint="write it as a text") from None
    keys = [("plugins", *one) for one in _keys(values)]
    found = {".".join(one[1:]): config.place(one) for one in keys}
    places = {key: place for key, place in found.items() if place is not None and place[-1].isdigit()}  # with its line
    Secrets(settings.root).read_all(list(references(values)))
    return Tables(values, places, None if config.path is None else str(config.path))


def _keys(node: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in node.items():
        yield (*above, key)
        if isinstance(value, Mapping):
            yield from _keys(value, (*above, key))  # pyright: ignore[reportUnknownArgumentType]  # TOML
