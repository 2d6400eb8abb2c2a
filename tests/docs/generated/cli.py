"""The commands, as their own help has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from freshet.cli.app import app

__all__ = ["WIDTH", "cli"]

WIDTH = 100
GLOBAL = ("--config", "--json", "--url", "--help")


def cli() -> str:
    """The page."""
    top: Any = typer.main.get_command(app)
    found = list(_commands(top, "freshet", None))
    parts = [
        "# Commands",
        "",
        "`--config FILE`, `--json` and `--url URL` stand before or after any command. Exit status: 0 done, 1 failed, "
        "2 wrong usage.",
        "",
        "| command | |",
        "|---|---|",
        *(f"| [`{name}`](#{name.replace(' ', '-')}) | {_first(command)} |" for name, command, _ in found),
        "",
    ]
    for name, command, context in found:
        text = "\n".join(_without_global(command.get_help(context))).strip()
        parts += [f"## {name}", "", "```text", text, "```", ""]
    return "\n".join(parts)


def _commands(group: Any, path: str, parent: Any) -> Iterator[tuple[str, Any, Any]]:
    above = group.make_context(path, [], parent=parent, resilient_parsing=True)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}", above.parent)
        else:
            context = type(above)(command, info_name=f"{path} {name}", terminal_width=WIDTH, max_content_width=WIDTH)
            yield f"{path} {name}", command, context


def _first(command: Any) -> str:
    return str(command.help).strip().partition("\n")[0].replace("|", "\\|")


def _without_global(text: str) -> Iterator[str]:
    """What every command takes is said once."""
    lines = [line.rstrip() for line in text.splitlines()]
    left_out = False
    for number, line in enumerate(lines):
        option = line.strip().split(" ")[0] if line.startswith("  -") else ""
        if option:
            left_out = option in GLOBAL
        elif not line.startswith("    "):
            left_out = False
        alone = line == "Options:" and all(
            one.strip().split(" ")[0] in GLOBAL for one in lines[number + 1 :] if one.startswith("  -")
        )
        if not left_out and not alone:
            yield line
