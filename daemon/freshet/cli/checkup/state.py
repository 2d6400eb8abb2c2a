"""The state directory: whose it is, where it lies, whether there is room, and whether its database is well."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from freshet.cli.checkup.finding import Finding, bad, fine, warned
from freshet.definitions.sizes import format_size
from freshet.errors import FreshetError, SchemaTooNew
from freshet.store.health import database_health
from freshet.store.statedir import DATABASE_NAME, network_file_system

__all__ = ["database", "folder", "room", "temporary"]

_LITTLE, _TOO_LITTLE = 2**30, 64 * 2**20
_BACKWARD = 1.0
"""Seconds that two clocks may differ without anybody having set one back."""
_OWN = (DATABASE_NAME, f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm", "lock", "runs", "values", "detached")


def folder(state_dir: Path) -> Iterator[Finding]:
    """Who may read and write it, and on what file system it is."""
    what = "state directory"
    if (kind := network_file_system(_nearest(state_dir))) is not None:
        yield bad(what, f"{state_dir} is on {kind}", "a write-ahead log needs a local disk: set state_dir to one")
    try:
        found = state_dir.stat()
    except FileNotFoundError:
        above = _nearest(state_dir)
        if os.access(above, os.W_OK | os.X_OK):
            yield fine(what, f"{state_dir} is not there yet; the first start makes it")
        else:
            yield bad(what, f"{state_dir} is not there, and {above} is not yours to write", f"sudo mkdir {state_dir}")
        return
    except OSError as error:
        yield bad(what, f"{state_dir}: {error.strerror}", "call this as the user that runs the daemon")
        return
    owner = _name(found.st_uid)
    if not stat.S_ISDIR(found.st_mode):
        yield bad(what, f"{state_dir} is no folder", "set state_dir to another place")
    elif os.geteuid() not in (0, found.st_uid):
        said = f"{state_dir} belongs to {owner}, and this is {_name(os.geteuid())}"
        yield bad(what, said, f"call this as {owner}, or: sudo chown -R {_name(os.geteuid())} {state_dir}")
    elif not os.access(state_dir, os.R_OK | os.W_OK | os.X_OK):
        yield bad(what, f"{state_dir} cannot be written to", f"chmod u+rwx {state_dir}; is its file system read-only?")
    elif found.st_mode & 0o077:
        yield warned(what, f"others than {owner} may look into {state_dir}", f"chmod 700 {state_dir}")
    else:
        yield fine(what, f"{state_dir}, of {owner}")
    if stat.S_ISDIR(found.st_mode):
        yield from _strangers(state_dir, found.st_uid)


def _strangers(state_dir: Path, owner: int) -> Iterator[Finding]:
    theirs = list[str]()
    for name in _OWN:
        try:
            if (state_dir / name).lstat().st_uid != owner:
                theirs.append(name)
        except OSError:
            continue
    if theirs:
        said = f"{', '.join(theirs)} in {state_dir} belong to somebody else: was a daemon started as root?"
        yield bad("state directory", said, f"sudo chown -R {_name(owner)} {state_dir}")


def room(state_dir: Path) -> Iterator[Finding]:
    """Free disk, and free inodes."""
    yield from _room("disk", _nearest(state_dir), "stop taking backups there, or shorten [retention]")


def temporary() -> Iterator[Finding]:
    """The folder for temporary files, which plugins and `freshet check` use."""
    try:
        place = Path(tempfile.gettempdir())
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        yield bad(
            "temporary files", f"none can be made: {error.strerror}", "set TMPDIR to a folder that can be written"
        )
        return
    yield from _room("temporary files", place, "clear it, or set TMPDIR to another folder")


def _room(what: str, place: Path, remedy: str) -> Iterator[Finding]:
    free, disk = shutil.disk_usage(place).free, os.statvfs(place)
    said = f"{format_size(free)} free at {place}"
    if free < _TOO_LITTLE:
        yield bad(what, said, remedy)
    elif free < _LITTLE:
        yield warned(what, said, remedy)
    elif disk.f_files and disk.f_favail < disk.f_files // 100:
        yield warned(what, f"{disk.f_favail} inodes free at {place}", remedy)
    else:
        yield fine(what, said)


def database(state_dir: Path, now: float) -> Iterator[Finding]:
    """Its integrity and schema; whether the clock was set back since its last commit."""
    path = state_dir / DATABASE_NAME
    if state_dir.exists() and not os.access(state_dir, os.R_OK | os.X_OK):
        return  # whose it is was said above
    if not path.exists():
        yield fine("database", "nothing has run here yet")
        return
    try:
        health = database_health(path)
    except SchemaTooNew as error:
        yield bad("database", error.message, error.hint)
        return
    except FreshetError as error:
        yield bad("database", error.message, f"{error.hint} One that is damaged goes: freshet restore FOLDER --force")
        return
    if health.problems:
        said = f"{path} is damaged: {'; '.join(health.problems)}"
        yield bad("database", said, "stop the daemon and put a backup in its place: freshet restore FOLDER --force")
    elif health.schema < health.newest:
        said = f"schema {health.schema}; this release has {health.newest}"
        yield warned("database", said, "the next start brings it up, after a copy of its own")
    else:
        said = f"{format_size(health.size)}, {format_size(health.empty)} of it empty; schema {health.schema}"
        yield fine("database", said)
    if not health.shrinks:
        said = "its file never becomes smaller: an earlier release made it (empty pages are filled again)"
        yield warned("database", said, "to change that: stop, freshet backup FOLDER, freshet restore FOLDER --force")
    if health.last is not None and health.last > now + _BACKWARD:
        said = f"the clock is {health.last - now:.0f} s behind the last commit: it was set back"
        yield bad("clock", said, "set the clock right before the next start; schedules wait until it is past that")


def _nearest(path: Path) -> Path:
    """It, or the first folder above it that is there."""
    return next((one for one in (path, *path.absolute().parents) if os.access(one, os.F_OK)), Path("/"))


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
