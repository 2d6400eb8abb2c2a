"""The settings: their types and defaults from the code, what they mean from the comments of the shipped file."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from tests.docs.pages import ROOT

from freshet.configfile import env_name
from freshet.configuration import Settings

__all__ = ["settings"]

_SHIPPED = (ROOT / "config" / "freshet.toml").read_text()
_SETTING = re.compile(r"^(# )?([a-z_]+) = (.*)$")
KINDS: dict[Any, str] = {float: "number", int: "integer", str: "text", Path: "path"}


def settings() -> str:
    """The page."""
    parts = [
        "# Settings",
        "",
        "In `config/freshet.toml`, then `/etc/freshet/freshet.toml`, or the file of `--config`. The environment goes "
        "above the file: `FRESHET_HTTP__PORT=9000` is `port` of `[http]`. An unknown key is an error. Paths in the "
        'file are relative to it; durations are `"250ms"`, `"30s"`, `"1h30m"`, `"7d"`.',
        "",
    ]
    sections = {name: _model(field) for name, field in Settings.model_fields.items()}
    parts += ["## Top level", "", *_table({n: f for n, f in Settings.model_fields.items() if n not in _tables()}, ())]
    for name in _tables():
        parts += ["", f"## [{name}]", ""]
        model = sections[name]
        if model is None:
            parts += [_section_comment(name)]
        else:
            parts += [_doc(model), "", *_table(model.model_fields, (name,))]
    return "\n".join([*parts, ""])


def _tables() -> list[str]:
    return [name for name, field in Settings.model_fields.items() if _model(field) or name in ("pools", "plugins")]


def _model(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, BaseModel) else None


def _doc(model: type[BaseModel]) -> str:
    text = " ".join((model.__doc__ or "").split())
    found = text.partition(": ")[2]
    return found[:1].upper() + found[1:]


def _table(fields: dict[str, FieldInfo], section: tuple[str, ...]) -> Iterator[str]:
    yield "| setting | type | default | in the environment | |"
    yield "|---|---|---|---|---|"
    for name, field in fields.items():
        shown = _shipped(name, section)
        kind = _kind(field, name, section)
        comment = _comment(name, section).replace("|", "\\|")
        yield f"| `{name}` | {kind} | {shown} | `{env_name((*section, name))}` | {comment} |"


def _kind(field: FieldInfo, name: str, section: tuple[str, ...]) -> str:
    kind: Any = field.annotation
    args = [one for one in get_args(kind) if one is not type(None)]
    if get_origin(kind) is Literal:
        return ", ".join(f'`"{one}"`' for one in args)
    if get_origin(kind) in (typing.Union, type(int | str)):
        kind = args[0]
        if get_origin(kind) is typing.Annotated:
            kind = get_args(kind)[0]
    if get_origin(kind) is dict:
        return "table"
    shown = _value(name, section)
    if kind is float and shown.startswith('"'):
        return "duration"
    return KINDS[kind]


def _lines(section: tuple[str, ...]) -> list[str]:
    parts = re.split(r"^\[([a-z]+)\]\n", _SHIPPED, flags=re.M)
    by_name = dict(zip(parts[1::2], parts[2::2], strict=True))
    return (by_name[section[0]] if section else parts[0]).splitlines()


def _found(name: str, section: tuple[str, ...]) -> tuple[int, bool, str]:
    for number, line in enumerate(_lines(section)):
        match = _SETTING.match(line)
        if match and match[2] == name:
            return number, bool(match[1]), match[3]
    raise LookupError(f"config/freshet.toml has no {name} in {section}")


def _value(name: str, section: tuple[str, ...]) -> str:
    return _found(name, section)[2]


def _shipped(name: str, section: tuple[str, ...]) -> str:
    """What the file has; where it stands there as an example, the comment says what the default is."""
    _, example, value = _found(name, section)
    if not section and name in ("state_dir", "plugins_dir", "root"):
        return f"as shipped `{value}`"
    return f"none; for example `{value}`" if example else f"`{value}`"


def _comment(name: str, section: tuple[str, ...]) -> str:
    lines, held = _lines(section), list[str]()
    for line in reversed(lines[: _found(name, section)[0]]):
        if not line.startswith("# ") or _SETTING.match(line):
            if line and not held and not line.startswith("# "):
                continue
            break
        held.insert(0, line[2:])
    return " ".join(held)


def _section_comment(name: str) -> str:
    held = [line[2:] for line in _lines((name,)) if line.startswith("# ") and not _SETTING.match(line)]
    example = [line[2:] for line in _lines((name,)) if line.startswith("# ") and _SETTING.match(line)]
    return "\n".join([" ".join(held), "", "```toml", f"[{name}]", *example, "```"])
