"""A commented start: a file that `freshet check` passes, and that runs."""

from __future__ import annotations

import keyword
import os
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.text import in_line
from freshet.configfile import env_name, no_config, read_config
from freshet.definitions.names import check_name
from freshet.errors import Conflict, InvalidName, SettingsError

__all__ = ["write"]

_LONGEST = 80
"""Characters of a name: what is derived from it is a name too, of at most 100."""
_PLACEHOLDER = "NAME"

Kind = Literal["sensor", "asset", "plugin"]


def write(session: Session, kind: Kind, name: str, folder: Path | None) -> None:
    """Write it, and say what to do next. Raises `UsageError` for a name, `Conflict` for what is there already."""
    _check(kind, name)
    where = folder or _plugins_dir(session)
    made = {where / f"{name}.py": _start(kind, name)}
    if kind == "plugin":
        made[where / "tests" / f"test_{name}.py"] = _start("test", name)
    _create(where, name, made)
    paths = [str(path) for path in made]
    following = _next(session, kind, name, where)
    if session.json:
        print_json({"written": paths, "next": following})
        return
    for path in paths:
        print(f"wrote {in_line(path)}")  # noqa: T201
    print(f"next: {in_line('; '.join(following))}")  # noqa: T201


def _check(kind: Kind, name: str) -> None:
    try:
        check_name(name, what=kind)
    except InvalidName as error:
        raise UsageError(error.message, hint="letters, digits and _, no digit first: for example new_orders") from None
    if len(name) > _LONGEST:
        raise UsageError(f"{kind}: {name[:40]!r}... has {len(name)} characters", hint=f"the limit is {_LONGEST}")
    if keyword.iskeyword(name) or name == "__init__":
        raise UsageError(f"{kind}: {name!r} has a meaning of its own in Python", hint=f"for example {name}_orders")
    if name == "conftest" or name.startswith("test_"):
        raise UsageError(f"{kind}: pytest would take {name}.py for tests", hint="choose a name that is no test's")


def _plugins_dir(session: Session) -> Path:
    """That of the configuration, which may lack all else."""
    config = read_config(session.config)
    given: Any = os.environ.get(env_name(("plugins_dir",))) or config.data.get("plugins_dir")
    found: Any = next(iter(given), None) if isinstance(given, list) else given  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # TOML
    if isinstance(found, str) and found:
        return Path(found)
    if config.path is None:
        raise SettingsError(no_config().message, hint="say where the plugins are: --dir plugins")
    raise SettingsError(f"{config.path}: plugins_dir is missing", hint="set it there, or give --dir PATH")


def _start(which: str, name: str) -> str:
    text = (files("freshet.cli") / "starts" / f"{which}.txt").read_text(encoding="utf-8")
    return text.replace(_PLACEHOLDER, name)


def _create(where: Path, name: str, made: dict[Path, str]) -> None:
    package = where / name
    taken = [path for path in (*made, package) if path.exists() or path.is_symlink()]
    if taken:
        raise Conflict(
            f"{taken[0]} is there already", hint="choose another name, or another --dir; nothing was written"
        )
    try:
        for path, text in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except FileExistsError as error:
        raise Conflict(f"{error.filename} is there already", hint="choose another name, or another --dir") from None
    except OSError as error:
        raise Conflict(f"{where} cannot be written: {error.strerror}", hint="give a folder of yours: --dir") from None


def _next(session: Session, kind: Kind, name: str, where: Path) -> list[str]:
    freshet = "freshet" if session.config is None else f"freshet --config {session.config}"
    if kind == "plugin":
        return [f"python -m pytest {where / 'tests' / f'test_{name}.py'}", f"{freshet} check"]
    return [f"{freshet} check", f"{freshet} tick {name}" if kind == "sensor" else f"{freshet} materialize {name}"]
