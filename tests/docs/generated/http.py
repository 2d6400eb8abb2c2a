"""The operations of the API, from its own document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio

from freshet.engine.control import Control
from freshet.http.api.app import create_api

__all__ = ["http"]

OUTSIDE = (
    ("GET", "/healthz", "200 while the process lives and its loops turn, else 503."),
    ("GET", "/readyz", "200 when plugins are loaded and every part is well, else 503 with the reason."),
    ("GET", "/metrics", "What runs, waits and is held, in the form of Prometheus."),
    ("POST", "/hooks/PATH", "A delivery to a webhook sensor: see [webhooks](../howto/webhooks.md)."),
)


def http() -> str:
    """The page."""
    document = _document()
    parts = [
        "# HTTP",
        "",
        "On TCP (`[http] host`, `port`), for everybody who reaches it:",
        "",
        "| | | |",
        "|---|---|---|",
        *(f"| {method} | `{path}` | {about} |" for method, path, about in OUTSIDE),
        "",
        "On the Unix socket (`freshet.sock` in the state directory), for the daemon's user: the API. Its document is "
        "at",
        '`/api/v1/openapi.json`. Errors have one form, `{"error": {"type", "message", "hint", "file", "line"}}`.',
        "",
        "```console",
        "$ curl --unix-socket state/freshet.sock http://freshet/api/v1/status",
        "```",
    ]
    tag = None
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            room = (one.get("tags") or ["other"])[0]
            if room != tag:
                parts += ["", f"## {room.capitalize()}", "", "| | | |", "|---|---|---|"]
                tag = room
            parts.append(f"| {method.upper()} | `{path}` | {_about(one, document)} |")
    return "\n".join([*parts, ""])


def _document() -> dict[str, Any]:
    control = SimpleNamespace(status=lambda: SimpleNamespace(version="-"))
    return create_api(cast("Control", control), Path("state"), anyio.Event()).openapi()


def _about(one: dict[str, Any], document: dict[str, Any]) -> str:
    said = " ".join(one["description"].split("\n\n")[0].split())
    takes = ", ".join(_takes(one, document))
    return (said + (f" Takes {takes}." if takes else "")).replace("|", "\\|")


def _takes(one: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    for each in one.get("parameters", []):
        if each["in"] == "query":
            yield f"`?{each['name']}=`"
    schema = one.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        body = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        needed = body.get("required", [])
        yield "a body with " + ", ".join(
            f"`{name}`" + ("" if name in needed else "?") for name in body.get("properties", {})
        )
