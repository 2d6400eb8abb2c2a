"""Where `freshet.toml` is and what stands in it, as plain data: shared by the settings and by the CLI.

The CLI needs little of the settings, above all the socket, and answers sooner without pydantic.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freshet.errors import SettingsError

__all__ = [
    "DEFAULT_FILES",
    "ENV_PREFIX",
    "NESTED",
    "ConfigFile",
    "env_name",
    "find_config",
    "read_config",
    "socket_of",
]

DEFAULT_FILES = (Path("config/freshet.toml"), Path("/etc/freshet/freshet.toml"))
ENV_PREFIX = "FRESHET_"
NESTED = "__"
_PATHS = (("state_dir",), ("plugins_dir",), ("root",), ("http", "socket"))


@dataclass(frozen=True)
class ConfigFile:
    """A file as read: `data` with its paths made absolute, and its `text`. `path` is None where there is no file."""

    path: Path | None
    data: dict[str, Any]
    text: str = ""

    def place(self, keys: tuple[str, ...]) -> str | None:
        """`file:line` of a key, just the file where the line cannot be told, None where the file has no such key."""
        node: Any = self.data
        for key in keys:
            if not isinstance(node, dict) or key not in node:
                return None
            node = node[key]  # pyright: ignore[reportUnknownVariableType]  # TOML
        line = _line_of(self.text, keys)
        return f"{self.path}:{line}" if line else str(self.path)


def env_name(keys: tuple[str, ...]) -> str:
    """`("http", "port")` is `FRESHET_HTTP__PORT`."""
    return ENV_PREFIX + NESTED.join(keys).upper()


def find_config(path: Path | None) -> Path | None:
    """`path`, or the first default file that exists, or None. Raises `SettingsError` where `path` is no file."""
    if path is None:
        return next((file for file in DEFAULT_FILES if file.is_file()), None)
    if not path.is_file():
        raise SettingsError(f"{path}: no such file", hint="give the configuration file with --config FILE")
    return path


def read_config(path: Path | None) -> ConfigFile:
    """Read the file that `find_config` names; without one the data is empty. Raises `SettingsError`."""
    found = find_config(path)
    if found is None:
        return ConfigFile(None, {})
    try:
        text = found.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"{found}: {error.strerror}", hint="let the daemon's user read it") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{found}: not UTF-8 ({error.reason})", hint="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise _syntax(found, error) from None
    for keys in _PATHS:
        _make_absolute(data, keys, found.absolute().parent)
    return ConfigFile(found, data, text)


def socket_of(path: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The daemon's Unix socket, as the settings will have it. Raises `SettingsError`."""
    config = read_config(path)
    http: Any = config.data.get("http")
    named: Any = environ.get(env_name(("http", "socket"))) or (http.get("socket") if hasattr(http, "get") else None)
    state: Any = environ.get(env_name(("state_dir",))) or config.data.get("state_dir")
    if isinstance(named, str) and named:
        return Path.cwd() / named
    if isinstance(state, str) and state:
        return Path(os.path.normpath(Path.cwd() / state)) / "freshet.sock"
    if config.path is None:
        raise no_config()
    raise SettingsError(f"{config.path}: state_dir is missing", hint='for example state_dir = "../state"')


def no_config() -> SettingsError:
    """What to say where a setting is needed and there is no file."""
    return SettingsError(
        f"no configuration: neither {DEFAULT_FILES[0]} nor {DEFAULT_FILES[1]} is here",
        hint="give --config FILE, or set FRESHET_STATE_DIR and FRESHET_PLUGINS_DIR",
    )


def _make_absolute(data: dict[str, Any], keys: tuple[str, ...], folder: Path) -> None:
    *above, last = keys
    node: Any = data
    for key in above:
        node = node.get(key)
        if not hasattr(node, "get"):  # nothing there, or no section: then the settings will say so
            return
    value: Any = node.get(last)
    if isinstance(value, str) and value:
        node[last] = os.path.normpath(folder / Path(value).expanduser())


def _syntax(path: Path, error: tomllib.TOMLDecodeError) -> SettingsError:
    message = str(error)
    place = re.search(r" \(at line (\d+), column \d+\)$", message)
    where = f"{path}:{place[1]}" if place else str(path)
    return SettingsError(f"{where}: not TOML: {message[: place.start()] if place else message}", hint="see toml.io")


def _line_of(text: str, keys: tuple[str, ...]) -> int | None:
    """The line where a key is set, for files written the usual way: `[section]` and `key = value`."""
    section: tuple[str, ...] = ()
    header = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
    for number, line in enumerate(text.splitlines(), start=1):
        if match := header.match(line):
            section = _dotted(match[1])
            if section == keys:
                return number
        elif "=" in line and section + _dotted(line.partition("=")[0]) == keys:
            return number
    return None


def _dotted(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.strip().split("."))
