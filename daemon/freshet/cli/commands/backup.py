"""Backups: a folder with `freshet.db`, `backup.json` and perhaps `values/`; made beside its name, then renamed.

Files of values never change once they have their name, so a hard link is as good as a copy and costs nothing; on
another file system they are copied.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

import freshet
from freshet.cli.session import Session, print_json
from freshet.cli.text import plain
from freshet.configuration import load_settings
from freshet.definitions.sizes import format_size
from freshet.errors import Conflict, FreshetError, StoreError
from freshet.store.backup import Proved, copy_whole, named_paths, prove, sync_folder
from freshet.store.lock import lock_state_dir
from freshet.store.migrations import load_migrations
from freshet.store.statedir import DATABASE_NAME
from freshet.store.store import Store

__all__ = ["backup", "restore"]

_ABOUT = "backup.json"
_MOVED = (DATABASE_NAME, f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm", "runs", "detached")
"""What a state has that a backup takes the place of. The numbers of runs begin again where the backup ends: their
journals must not meet those of other runs."""


def backup(session: Session, folder: Path, *, values: bool) -> None:
    """Make one and say what is in it."""
    state_dir = load_settings(session.config).state_dir
    folder = folder.absolute()
    source, part = state_dir / DATABASE_NAME, folder.with_name(f"{folder.name}.part")
    if not source.is_file():
        raise StoreError(f"there is no {source}", hint="nothing has run here yet; is it the right configuration?")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is there already", hint="name a new folder: backups are never written over")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True, mode=0o700)
        copy_whole(source, part / DATABASE_NAME)
        proved = _prove(part / DATABASE_NAME)
        kept = _take_values(part / DATABASE_NAME, state_dir / "values", part / "values") if values else None
        about = _about(proved, kept)
        _write(part / _ABOUT, json.dumps(about, indent=2) + "\n")
        sync_folder(part)
        with suppress(FileNotFoundError):
            folder.rmdir()
        part.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise _not_done(folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _say(session, folder, about, f"{folder}: ")


def restore(session: Session, folder: Path, *, force: bool) -> None:
    """Put one in force."""
    state_dir = load_settings(session.config).state_dir
    source = folder.absolute() / DATABASE_NAME
    if not source.is_file():
        raise StoreError(f"there is no {source}", hint="name a folder that `freshet backup` has made")
    with lock_state_dir(state_dir):
        proved = prove(source)
        there = [name for name in _MOVED if (state_dir / name).exists()]
        if there and not force:
            raise Conflict(
                f"{state_dir} holds a state already ({', '.join(there)})", hint="--force puts it aside first"
            )
        aside: Path | None = None
        part = state_dir / f"{DATABASE_NAME}.part"
        try:
            shutil.copyfile(source, part)
            part.chmod(0o600)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            prove(part)
            missing = _put_values(part, folder.absolute() / "values", state_dir / "values")
            if there:
                aside = _put_aside(state_dir, there)
            part.rename(state_dir / DATABASE_NAME)
            sync_folder(state_dir)
            _hand_over(state_dir)
        except OSError as error:
            raise _not_done(state_dir, error) from error
        finally:
            part.unlink(missing_ok=True)
    about = _about(proved, None) | {"values_missing": missing, "put_aside": None if aside is None else str(aside)}
    _say(session, state_dir, about, f"{state_dir} is as it was in the backup: ")


def _prove(path: Path) -> Proved:
    """Whole, and a store opens it."""
    proved = prove(path)
    if proved.schema == load_migrations()[-1].number:
        asyncio.run(_open(path))
    return proved


async def _open(path: Path) -> None:
    store = await Store.open(path, now=time.time())
    await store.close()


def _take_values(copy: Path, values: Path, target: Path) -> tuple[int, int]:
    """Returns how many values were taken, and how many are named but gone."""
    taken = gone = 0
    target.mkdir(mode=0o700)
    for path in named_paths(copy):
        if _link(values / path, target / path):
            taken += 1
        else:
            gone += 1
    return taken, gone


def _put_values(copy: Path, values: Path, target: Path) -> int:
    """Returns how many values are named, and neither here nor in the backup."""
    gone = 0
    for path in named_paths(copy):
        there = (target / path).exists() or _link(values / path, target / path)
        gone += not there
    return gone


def _link(source: Path, target: Path) -> bool:
    """Whether it is there."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                raise
            shutil.copyfile(source, target)
            target.chmod(0o600)
            with target.open("rb") as file:
                os.fsync(file.fileno())
    except FileNotFoundError:
        return False
    return True


def _hand_over(state_dir: Path) -> None:
    """What root has put there belongs to whom the folder belongs to."""
    owner = state_dir.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    own = [state_dir / DATABASE_NAME, state_dir / "lock", state_dir / "values"]
    for folder, folders, files in os.walk(state_dir / "values"):
        own += [Path(folder) / name for name in (*folders, *files)]
    for path in own:
        with suppress(FileNotFoundError):
            os.lchown(path, owner.st_uid, owner.st_gid)


def _put_aside(state_dir: Path, names: list[str]) -> Path:
    aside = state_dir / time.strftime("replaced-%Y%m%dT%H%M%S", time.gmtime())
    aside.mkdir(mode=0o700)
    for name in names:
        (state_dir / name).rename(aside / name)
    return aside


def _about(proved: Proved, values: tuple[int, int] | None) -> dict[str, object]:
    return {
        "made_at": time.time(),
        "release": freshet.__version__,
        "schema": proved.schema,
        "size": proved.size,
        "last_event": proved.last_event,
        "last_run": proved.last_run,
        "values": None if values is None else values[0],
        "values_missing": None if values is None else values[1],
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _say(session: Session, folder: Path, about: dict[str, object], begin: str) -> None:
    if session.json:
        print_json({"folder": str(folder), **about})
        return
    said = f"{format_size(float(str(about['size'])))}, up to event {about['last_event']} and run {about['last_run']}"
    if about["values"] is not None:
        said += f", with {about['values']} values"
    print(plain(begin + said))  # noqa: T201
    if about.get("put_aside"):
        print(plain(f"what was there before is in {about['put_aside']}"))  # noqa: T201
    if about["values_missing"]:
        said = f"warning: {about['values_missing']} values are named and not there: materialize their assets again"
        print(said, file=sys.stderr)  # noqa: T201


def _not_done(folder: Path, error: OSError) -> FreshetError:
    return StoreError(
        f"{folder}: {error.strerror or error}", hint="is there room, and may this user write there? nothing was changed"
    )
