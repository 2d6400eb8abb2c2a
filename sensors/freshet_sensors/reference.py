"""Secrets that stand elsewhere and not in the plugin: "env:NAME", "file:PATH", "cred:NAME" (systemd's LoadCredential).

Read whenever they are needed: a file that is another by then is read as it is.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from freshet import FreshetError, conceal

__all__ = ["filled", "names_file", "names_secret", "read"]

_REFERENCE = re.compile(r"(?:(?<=\s)|^)(?:(env):([A-Za-z_][A-Za-z0-9_]*)|(file):(\S+)|(cred):([A-Za-z0-9_.@-]+))")


def names_secret(text: str) -> bool:
    """Whether a reference stands in `text`, at its beginning or after a blank."""
    return _REFERENCE.search(text) is not None


def names_file(text: str) -> bool:
    """Whether reading what it names may wait for a disk."""
    return any(found[1] is None for found in _REFERENCE.finditer(text))


def filled(text: str, *, what: str) -> str:
    """`text` with what each reference in it names in its place. Raises as `read` does."""

    def held(found: re.Match[str]) -> str:
        kind, name = (part for part in found.groups() if part is not None)
        return _held(kind, name, what)

    return _REFERENCE.sub(held, text)


def read(reference: str, *, what: str) -> str:
    """What one reference names, without the line end that stands behind it in a file.

    Raises `FreshetError`, which names the place and never shows what stands there.
    """
    kind, _, name = reference.partition(":")
    return _held(kind, name, what)


def _held(kind: str, name: str, what: str) -> str:
    if kind == "env":
        found = os.environ.get(name, "").rstrip("\r\n")
        if not found:
            raise FreshetError(
                f"{what}: the environment has no {name}", hint=f"set {name} for the daemon, and start it anew"
            )
        conceal(found)
        return found
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if kind == "cred" and not folder:
        hint = f"set LoadCredential={name}:... in the unit"
        raise FreshetError(f"{what}: there are no systemd credentials", hint=hint)
    path = Path(folder or "", name) if kind == "cred" else Path(name).expanduser()
    hint = f"make {path} a file that the daemon's user may read, with the secret in it"
    try:
        found = path.read_text().rstrip("\r\n")
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise FreshetError(f"{what}: {path} cannot be read: {reason}", hint=hint) from None
    if not found:
        raise FreshetError(f"{what}: {path} is empty", hint=hint)
    conceal(found)
    return found
