"""Every error of Freshet, in one tree.

    FreshetError                    carries `hint`: what to do about it
    ├── DefinitionError             a user's plugin is wrong; names file and line
    │   ├── InvalidName             an asset, set or sensor name that is taken, malformed or unknown
    │   ├── DurationError           "5 parsecs"
    │   └── GraphError              an unknown dependency, a cycle
    ├── SettingsError               freshet.toml or FRESHET_* is wrong
    ├── PartitionKeyError           a key that no set may hold
    ├── ValueFormatError            a value cannot be kept or read back
    ├── StoreError                  what the state directory holds, or cannot hold
    │   ├── StateDirectoryLocked    a second daemon on the same state
    │   ├── SchemaTooNew            the database was written by a later Freshet
    │   ├── StoreUnavailable        disk full, read-only, I/O error: nothing was acknowledged
    │   └── TickRefused             an outcome that came late or twice
    ├── UnknownName                 asked for something that is not there; offers the nearest
    ├── Conflict                    the request does not fit the present state
    ├── NoStep                      the current context was asked for where no step runs
    ├── ItemsFailed                 some of the items of a `ctx.map` failed for good
    ├── RunFailed                   a run that a step asked for with `ctx.call` failed, or was canceled
    ├── HostError                   the code host could not start or broke its protocol
    │   └── LoadError                   a plugin hung while it loaded, or ended the host
    └── DaemonUnreachable           the CLI found no daemon

A plugin's own exceptions are never in this tree: they are recorded and backed off. An exception
outside the tree inside `engine/` is a bug of ours and ends the process.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "Conflict",
    "DaemonUnreachable",
    "DefinitionError",
    "DurationError",
    "FreshetError",
    "GraphError",
    "HostError",
    "InvalidName",
    "ItemsFailed",
    "NoStep",
    "PartitionKeyError",
    "RunFailed",
    "SchemaTooNew",
    "SettingsError",
    "StateDirectoryLocked",
    "StoreError",
    "StoreUnavailable",
    "TickRefused",
    "UnknownName",
    "ValueFormatError",
]


class FreshetError(Exception):
    """The root. `hint` is one sentence that says what to do; empty where the message says it all."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class DefinitionError(FreshetError):
    """A definition is wrong. `file` and `line` name the place where the user wrote it, if known."""

    def __init__(self, message: str, *, hint: str = "", file: str | None = None, line: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.file = file
        self.line = line


class InvalidName(DefinitionError):
    """A name that is malformed or already taken."""


class DurationError(DefinitionError, ValueError):
    """A text that is no duration."""


class GraphError(DefinitionError):
    """The assets do not form a graph: an unknown dependency, or a cycle."""


class SettingsError(FreshetError):
    """The configuration is wrong; the message names the key and where it stands."""


class PartitionKeyError(FreshetError, ValueError):
    """A text that cannot be a partition key."""


class ValueFormatError(FreshetError):
    """A value that its I/O manager cannot write, or a stored value that cannot be read back."""


class StoreError(FreshetError):
    """The state directory or its database."""


class StateDirectoryLocked(StoreError):
    """Another daemon holds the state directory."""


class SchemaTooNew(StoreError):
    """The database was written by a later release."""


class StoreUnavailable(StoreError):
    """A write could not be made durable. Nothing of it was acknowledged; it may be tried again."""


class TickRefused(StoreError):
    """An outcome whose tick is no longer the one in force (late, doubled, or the ticker was changed)."""


class UnknownName(FreshetError):
    """Something asked for by name is not there."""


class Conflict(FreshetError):
    """The request is well formed but does not fit the present state."""


class ItemsFailed(FreshetError):
    """Items of a `ctx.map` that failed for good, or were canceled. `errors`: what each said, by its number from 0."""

    def __init__(self, name: str, total: int, errors: dict[int, str]) -> None:
        said = "; ".join(f"[{item}] {text:.200}" for item, text in list(errors.items())[:_ITEMS_SHOWN])
        more = f"; and {len(errors) - _ITEMS_SHOWN:,} more" if len(errors) > _ITEMS_SHOWN else ""
        super().__init__(
            f"{len(errors):,} of {total:,} items of {name} failed: {said}{more}",
            hint="what succeeded is kept for the next attempt of the step",
        )
        self.errors = errors


_ITEMS_SHOWN = 5


class RunFailed(FreshetError):
    """A run that a step asked for with `ctx.call` did not succeed. `run_id`: its number, None where it was not
    admitted; `state`: "failed" or "canceled"; `error`: type and message of what failed first in it, else empty."""

    def __init__(
        self, target: str, run_id: int | None, state: str, error: Mapping[str, str] | None = None, *, hint: str = ""
    ) -> None:
        said = f"{error['type']}: {error['message']:.2000}" if error else ""
        if run_id is None:
            super().__init__(f"no run of {target!r}: {said}", hint=hint)
        else:
            what = "was canceled" if state == "canceled" else f"failed: {said}" if said else "failed"
            super().__init__(f"run {run_id} of {target!r} {what}", hint=hint or f"freshet logs {run_id} says more")
        self.run_id = run_id
        self.state = state
        self.error = dict(error or {})


class NoStep(FreshetError, LookupError):
    """`freshet.current()` where no step runs."""


class HostError(FreshetError):
    """The code host could not start, or broke the frame protocol."""


class LoadError(HostError):
    """A plugin did not load in time, or ended its process. `file`: which, if known; `traceback`: where it stood."""

    def __init__(self, message: str, *, hint: str = "", file: str | None = None, traceback: str = "") -> None:
        super().__init__(message, hint=hint)
        self.file = file
        self.traceback = traceback


class DaemonUnreachable(FreshetError):
    """No daemon answers at the socket or URL."""
