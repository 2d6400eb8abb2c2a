"""The daemon's log: one line an event on stderr, for people on a terminal and as JSON elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal

import structlog

from freshet.masking import masked

__all__ = ["configure_logs", "set_level"]

_at_least = {"level": 0}
"""What is less is not said."""


def configure_logs(level: str, form: Literal["auto", "console", "json"]) -> None:
    """Set up structlog for the whole process. `auto`: console on a terminal, JSON elsewhere."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    set_level(level)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _instants,
    ]
    if console:
        last: structlog.typing.Processor = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the default shows locals, and with them secrets
        )
    else:
        shared.append(structlog.processors.format_exc_info)
        last = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[_said_at_all, *shared, last, _concealed],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),  # loggers are kept, the level may change
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_libraries(level, shared, last)


def set_level(level: str) -> None:
    """What is said from now on: this and what is more."""
    _at_least["level"] = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(max(logging.INFO, _at_least["level"]))


def _said_at_all(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if logging.getLevelNamesMapping().get(method.upper(), logging.ERROR) < _at_least["level"]:
        raise structlog.DropEvent
    return event


def _concealed(logger: Any, method: str, event: Any) -> Any:
    """What has been rendered, with stars for secrets."""
    return masked(event) if isinstance(event, str) else event


def _instants(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What happens at a moment (`retry_at`) is said as a time, not as seconds since 1970."""
    at = event.get("retry_at")
    if isinstance(at, int | float):
        event["retry_at"] = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return event


def _adopt_libraries(level: str, shared: list[structlog.typing.Processor], last: structlog.typing.Processor) -> None:
    """What libraries say through `logging` looks the same."""
    handler = logging.StreamHandler(sys.stderr)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove, last, _concealed]),
    )
    logging.basicConfig(level=max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]), handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
