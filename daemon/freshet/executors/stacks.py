"""What `faulthandler` writes, read: where each thread of an evaluator stood when it was asked, or when it crashed."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["COLLECTING", "alone", "crashed_thread", "last_words", "stack_of"]

COLLECTING = "Garbage-collecting"
"""The first line of a thread that the garbage collector has stopped."""
_THREAD = re.compile(r"^(Current thread|Thread) 0x([0-9a-f]+)[^\n]*\(most recent call first\):\n", re.MULTILINE)
_FRESHET = Path(__file__).resolve().parent.parent
_OURS = (f'File "{_FRESHET}/host/', f'File "{_FRESHET}/definitions/')
_LIMIT = 4000


def stack_of(text: str, ident: int) -> str:
    """The frames of one thread, innermost first, from the plugin's code on; empty where the thread is not in `text`."""
    for found, frames in _threads(text):
        if found == ident:
            return _users(frames)
    return ""


def alone(text: str) -> str:
    """The same of a text with the frames of one thread and no other."""
    head, _, frames = text.partition("\n")
    return _users(frames) if head.startswith("Stack") else ""


def last_words(text: str) -> str:
    """What was written in a crash, without what was asked for before; all where there was none."""
    return text[max(0, text.find("Fatal Python error")) :]


def crashed_thread(text: str) -> int:
    """The thread in which a fatal error was raised; 0 where there was none."""
    if "Fatal Python error" not in text:
        return 0
    match = re.search(r"^Current thread 0x([0-9a-f]+)", text, re.MULTILINE)
    return int(match[1], 16) if match else 0


def _threads(text: str) -> list[tuple[int, str]]:
    heads = list(_THREAD.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    return [(int(head[2], 16), text[head.end() : end]) for head, end in zip(heads, ends, strict=False)]


def _users(frames: str) -> str:
    """The lines up to the first that is the evaluator's own: below it there is only the loop."""
    kept: list[str] = []
    for line in frames.splitlines():
        if line.strip().startswith(_OURS) or not line.strip():
            break
        kept.append(line)
    return "\n".join(kept)[:_LIMIT]
