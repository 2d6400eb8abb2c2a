"""Secrets by reference: "env:NAME", "file:PATH", "cred:NAME". Read when they are needed, never shown.

A file is read again as soon as it is another: rotation needs no restart. The environment of a running process does
not change; who rotates keeps the secret in a file. "cred:NAME" is systemd's LoadCredential: a file of that name in
$CREDENTIALS_DIRECTORY.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from freshet.errors import FreshetError
from freshet.masking import conceal

__all__ = ["MissingSecret", "Secrets"]

_LOOK_AGAIN = 1.0
"""Seconds for which a file is taken to be as it was."""
_LONGEST = 1 << 16


class MissingSecret(FreshetError):
    """A secret is not where it should be; the message names the place, and never what stands there."""


@dataclass(slots=True)
class _Known:
    until: float
    identity: tuple[int, int, int] | None
    value: bytes | MissingSecret


class Secrets:
    """Reads secrets. `root`: what relative paths are relative to. Its text shows none of them."""

    def __init__(
        self,
        root: Path,
        *,
        environ: Mapping[str, str] = os.environ,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._environ = environ
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}

    def read(self, reference: str) -> bytes:
        """The secret, without the line end after it. Raises `MissingSecret`."""
        kind, _, name = reference.partition(":")
        if kind == "env":
            found = _checked(self._environ.get(name, "").encode("utf-8", "surrogateescape"), reference, _env_hint(name))
        else:
            found = self._of_file(reference, self._path(kind, name))
        if isinstance(found, MissingSecret):
            raise found.with_traceback(None)
        conceal(found)
        return found

    def read_all(self, references: Sequence[str]) -> tuple[tuple[bytes, ...], tuple[MissingSecret, ...]]:
        """Those that are there, and what is wrong with the others."""
        found, missing = list[bytes](), list[MissingSecret]()
        for one in references:
            try:
                found.append(self.read(one))
            except MissingSecret as error:
                missing.append(error)
        return tuple(found), tuple(missing)

    def _path(self, kind: str, name: str) -> Path | None:
        if kind == "file":
            return self._root / Path(name).expanduser()
        folder = self._environ.get("CREDENTIALS_DIRECTORY")
        return None if folder is None else Path(folder) / name

    def _of_file(self, reference: str, path: Path | None) -> bytes | MissingSecret:
        name = reference.removeprefix("cred:")
        loaded = name != reference
        if loaded and ("/" in name or name in (".", "..")):
            hint = "a credential has a name and no path: LoadCredential=NAME:PATH says where it comes from"
            return MissingSecret(f"the secret {reference!r} is no credential's name", hint=hint)
        if path is None:
            hint = "run Freshet by systemd, with LoadCredential= in its unit: freshet service install"
            return MissingSecret(f"the secret {reference!r}: there is no $CREDENTIALS_DIRECTORY", hint=hint)
        now, known = self._monotonic(), self._known.get(reference)
        if known is not None and now < known.until:
            return known.value
        try:
            at = path.stat()
            identity = (at.st_ino, at.st_size, at.st_mtime_ns)
            if known is not None and known.identity == identity:
                known.until = now + _LOOK_AGAIN
                return known.value
            with path.open("rb") as file:
                value = _checked(file.read(_LONGEST + 1), reference, f"write the secret into {path}")
        except (OSError, ValueError, RuntimeError) as error:
            said = getattr(error, "strerror", None) or type(error).__name__
            hint = f"make {path} a file that the daemon's user may read"
            if loaded:
                hint = f"give the unit LoadCredential={name}, put the secret into /etc/credstore/{name}, and start anew"
            identity, value = None, MissingSecret(f"the secret {reference!r} cannot be read: {said}", hint=hint)
        self._known[reference] = _Known(now + _LOOK_AGAIN, identity, value)
        return value

    def __repr__(self) -> str:
        return f"Secrets({len(self._known)} read)"


def _checked(value: bytes, reference: str, hint: str) -> bytes | MissingSecret:
    value = value.rstrip(b"\r\n")
    if not value:
        return MissingSecret(f"the secret {reference!r} is not there, or empty", hint=hint)
    if len(value) > _LONGEST:
        return MissingSecret(f"the secret {reference!r} is over {_LONGEST:,} bytes", hint=hint)
    return value


def _env_hint(name: str) -> str:
    return f"set {name} in the daemon's environment (systemd: Environment= or EnvironmentFile=) and start it anew"
