"""The systemd units as texts: made of what is installed here, and known again. Nothing here touches a file but those
that ship beside it."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from freshet.errors import SettingsError

__all__ = ["NAMES", "Place", "Scope", "edited", "made_by_systemd", "rendered", "stamped"]

Scope = Literal["system", "user"]
NAMES = ("freshet.socket", "freshet.service")
"""In the order in which they are started."""

_STATE_ROOT = Path("/var/lib")
_LAST_WRITES = 24
"""Seconds after `shutdown_grace` in which the daemon has surely ended by itself."""
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_STAMP = "# Written by `freshet service install`, which writes it anew unless it was edited: edits belong into `{}`.\n"
_SUM = "# sha256 of what follows: "


@dataclass(frozen=True)
class Place:
    """What the units are made of: absolute paths, the `user` that the service is, the address of `[http]` as systemd
    writes it (`address`), `shutdown_grace` in seconds, and the credentials to load ("NAME" or "NAME:PATH")."""

    python: Path
    config: Path
    root: Path
    plugins: Path
    state: Path
    address: str
    grace: float
    user: str = "freshet"
    credentials: Sequence[str] = ()


def rendered(place: Place, scope: Scope) -> dict[str, str]:
    """The units by name. Raises `SettingsError` for what no unit can say."""
    system = scope == "system"
    values = {
        "NETWORK": " network-online.target\nWants=network-online.target" if system else "",
        "PYTHON": _word(place.python, command=True),
        "CONFIG": _word(place.config, command=True),
        "BIN": _bin(place.python.parent),
        "STOP": f"{math.ceil(place.grace) + _LAST_WRITES}s",
        "CREDENTIALS": "".join(f"LoadCredential={_percent(one)}\n" for one in place.credentials),
        "SANDBOX": _shipped("system.conf" if system else "user.conf"),
        "TARGET": "multi-user.target" if system else "default.target",
        "USER": place.user,
        "STATE": _writes(place),
        "HOME": "read-only" if _at_home(place) else "yes",
        "ADDRESS": place.address,
    }
    return {name: _filled(_filled(_shipped(name), values), values) for name in NAMES}


def stamped(text: str, scope: Scope) -> str:
    """A unit with the lines above it by which an edit is noticed."""
    edit = "systemctl edit freshet" if scope == "system" else "systemctl --user edit freshet"
    return f"{_STAMP.format(edit)}{_SUM}{_digest(text)}\n\n{text}"


def edited(text: str) -> bool:
    """Whether a unit is not as `stamped` made it: somebody has edited it, or wrote it by himself."""
    head, _, rest = text.partition("\n\n")
    return head.rpartition("\n")[2] != f"{_SUM}{_digest(rest)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _shipped(name: str) -> str:
    return files("freshet.cli").joinpath("unitfiles", name).read_text(encoding="utf-8")


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], text)


def _at_home(place: Place) -> bool:
    used = (place.python, place.config, place.root, place.plugins, place.state)
    return any(home in path.parents for path in used for home in _HOMES)


def _writes(place: Place) -> str:
    """Below /var/lib the state is systemd's to make, with the right owner."""
    written = [] if place.root == Path("/") else [_word(place.root)]
    if made_by_systemd(place.state):
        return "\n".join((f"StateDirectory={place.state.name}", "StateDirectoryMode=0700", *_paths(written)))
    return "\n".join(_paths([*written, _word(place.state)]))


def _paths(words: Sequence[str]) -> list[str]:
    return [f"ReadWritePaths={' '.join(words)}"] if words else []


def made_by_systemd(state: Path) -> bool:
    """Whether a state directory is one that systemd makes for a system unit."""
    return state.parent == _STATE_ROOT and re.fullmatch(r"[A-Za-z0-9_.-]+", state.name) is not None


def _percent(text: str) -> str:
    if not text.isprintable():
        raise SettingsError(f"{text!r} cannot stand in a systemd unit", hint="choose a path without line ends")
    return text.replace("%", "%%")


def _word(path: Path | str, *, command: bool = False) -> str:
    """As one word of a unit. `command`: of a command line, where `$` begins a variable."""
    text = _percent(str(path))
    if command:
        text = text.replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_./%$:@+,=-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _bin(folder: Path) -> str:
    """A folder within `Environment=PATH=...`; one that would need quotes is left to the system's own."""
    text = _percent(str(folder))
    return text if re.fullmatch(r"[A-Za-z0-9_./%@+,-]+", text) else "/usr/local/sbin"
