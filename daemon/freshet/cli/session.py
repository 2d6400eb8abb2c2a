"""What all commands share: the global options, the client, and how answers and errors are printed."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from freshet.cli.text import place, plain
from freshet.configfile import socket_of
from freshet.errors import DefinitionError, FreshetError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from freshet.cli.client import Client

__all__ = [
    "ConfigOption",
    "JsonOption",
    "Session",
    "UrlOption",
    "UsageError",
    "global_options",
    "print_error",
    "print_json",
    "with_session",
]


class UsageError(FreshetError):
    """The command line is wrong."""


@dataclass(frozen=True)
class Session:
    """The global options of one call."""

    config: Path | None = None
    json: bool = False
    url: str | None = None

    def client(self) -> Client:
        """A client of the daemon that `--url` or the configuration names. Raises `SettingsError`."""
        from freshet.cli.client import Client

        return Client(url=self.url) if self.url else Client(socket_of(self.config))


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration file [config/freshet.toml, then /etc/freshet/freshet.toml].",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
UrlOption = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="Ask the daemon there, not over its Unix socket.")
]


def global_options(
    ctx: typer.Context, config: ConfigOption = None, json: JsonOption = False, url: UrlOption = None
) -> None:
    """Take the global options of a group of commands; what stands further right goes above."""
    ctx.obj = _above(ctx.obj or Session(), config, json, url)


def _above(before: Session, config: Path | None, json: bool, url: str | None) -> Session:
    return Session(config or before.config, json or before.json, url or before.url)


def with_session(body: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command the global options too: they stand before or after it. `body` gets the `Session` first."""

    @functools.wraps(body)
    def command(ctx: typer.Context, config: Path | None, json: bool, url: str | None, **own: Any) -> int | None:
        return body(_above(ctx.obj, config, json, url), **own)

    only = inspect.Parameter.KEYWORD_ONLY
    own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
    shared = [
        inspect.Parameter("config", only, default=None, annotation=ConfigOption),
        inspect.Parameter("json", only, default=False, annotation=JsonOption),
        inspect.Parameter("url", only, default=None, annotation=UrlOption),
    ]
    first = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [first, *(one.replace(kind=only) for one in own), *shared]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def print_json(value: BaseModel | list[Any] | tuple[Any, ...] | dict[str, Any]) -> None:
    """Models and plain values as JSON on stdout; ASCII, so that no control character reaches a terminal."""
    print(json.dumps(_jsonable(value), indent=2))  # noqa: T201


def _jsonable(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_jsonable(one) for one in value]  # pyright: ignore[reportUnknownVariableType]  # JSON
    return value


def print_error(error: FreshetError, *, as_json: bool) -> None:
    """An error on stderr: what is wrong and what to do, or the API's JSON of it."""
    file, line = (error.file, error.line) if isinstance(error, DefinitionError) else (None, None)
    if as_json:
        body = {"type": type(error).__name__, "message": error.message, "hint": error.hint, "file": file, "line": line}
        print(json.dumps({"error": body}), file=sys.stderr)  # noqa: T201
        return
    print(f"error: {plain(place(file, line) + error.message)}", file=sys.stderr)  # noqa: T201
    if error.hint:
        print(f"hint: {plain(error.hint)}", file=sys.stderr)  # noqa: T201
