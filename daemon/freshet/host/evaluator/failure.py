"""A plugin's exception as plain data, beginning at the plugin's own code."""

from __future__ import annotations

import asyncio
import sys
import traceback
from pathlib import Path

from freshet.host.messages import ErrorData
from freshet.masking import masked

__all__ = ["describe", "is_own_bug", "stack_of_thread"]

_HOST = str(Path(__file__).resolve().parent.parent)
_DEFINITIONS = str(Path(__file__).resolve().parent.parent.parent / "definitions")
_LIMIT = 20_000


def describe(error: BaseException) -> ErrorData:
    """Type, message and traceback of what a plugin raised. Never raises, whatever the exception does."""
    return ErrorData(type=type(error).__name__, message=_message(error), traceback=_traceback(error))


def stack_of_thread(ident: int) -> str:
    """Where a thread of this process stands now, from the plugin's code on; empty if it is gone."""
    frame = sys._current_frames().get(ident)  # pyright: ignore[reportPrivateUsage]  # there is no public way
    if frame is None:
        return ""
    lines = traceback.extract_stack(frame)
    while lines and _is_ours(lines[0].filename):
        del lines[0]
    begin = next((index for index, line in enumerate(lines) if _is_ours(line.filename)), None)
    if begin is not None:
        lines = traceback.StackSummary.from_list([line for line in lines[begin:] if not _is_ours(line.filename)])
    return _clean("".join(lines.format()))


def is_own_bug(error: BaseException) -> bool:
    """Whether an exception that reached the event loop was raised in a callback of the evaluator's own: a bug, since
    what plugins raise is caught where they are called."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(asyncio.__path__[0]):
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_code.co_filename.startswith(_HOST)


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as broken:  # the plugin's own __str__
        text = f"(its text cannot be shown: {type(broken).__name__})"
    return _clean(text or type(error).__name__)


def _traceback(error: BaseException) -> str:
    begin = error.__traceback__
    while begin is not None and _is_ours(begin.tb_frame.f_code.co_filename):
        begin = begin.tb_next
    if begin is None and not error.__cause__:
        return ""
    try:
        return _clean("".join(traceback.format_exception(type(error), error, begin)))
    except Exception as broken:  # formatting calls the plugin's __str__ and __repr__
        return f"(the traceback cannot be shown: {type(broken).__name__})"


def _is_ours(file: str) -> bool:
    return file.startswith((_HOST, _DEFINITIONS, asyncio.__path__[0]))


def _clean(text: str) -> str:
    """Fit to be sent: no secrets, valid Unicode, and not endless."""
    text = masked(text)
    if len(text) > _LIMIT:
        text = f"{text[: _LIMIT // 2]}\n ... {len(text) - _LIMIT:,} characters left out ...\n{text[-_LIMIT // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode()
