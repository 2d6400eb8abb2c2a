"""A step on another machine: what a Dask worker calls. Bytes in, bytes out; nothing of ours is pickled.

The step runs in a process of its own below the worker, as a detached one does, in a folder that is thrown away: what
lies there at the end, journal, artifacts and value, goes back with the result; what it says meanwhile, whoever waits
for it asks for.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from freshet.host.messages import Cancel, CancelItem
from freshet.host.orders import tell

__all__ = ["Said", "keep", "pack", "run_step", "said_since", "tell_steps", "unpack"]

_LENGTH = struct.Struct(">Q")
_PIECE = 1 << 20
"""Bytes of one file that are said at a time."""
_LINES = ".jsonl"

Said = tuple[str, dict[str, int]]
"""What has been heard of a step: from which start of it (it may be started on several workers, one after another), and
how much of each file."""


@dataclass(frozen=True)
class _Running:
    process: subprocess.Popen[bytes]
    top: Path
    run_id: int


_running: dict[str, _Running] = {}


def keep(data: bytes) -> bytes:
    """The plugins' sources, as a task: kept by the cluster under their digest, and made again where they are lost."""
    return data


def pack(head: Any, files: Mapping[str, bytes]) -> bytes:
    """JSON and files in one piece."""
    told = orjson.dumps({"head": head, "files": [(name, len(data)) for name, data in files.items()]})
    return b"".join([_LENGTH.pack(len(told)), told, *files.values()])


def unpack(data: bytes) -> tuple[Any, dict[str, bytes]]:
    """And back."""
    (length,) = _LENGTH.unpack_from(data)
    at = _LENGTH.size + length
    told = orjson.loads(data[_LENGTH.size : at])
    files: dict[str, bytes] = {}
    for name, size in told["files"]:
        files[name] = data[at : at + size]
        at += size
    return told["head"], files


def run_step(token: str, order: bytes, sources: bytes) -> bytes:
    """Run the step of `order` (`pack`: the `Run`, and the values it reads by their paths) to its end, and pack how it
    ended, and which start of it this was, with all that it wrote. An exception of this function is never the step's."""
    run, values = unpack(order)
    top = Path(tempfile.mkdtemp(prefix="freshet-"))
    try:
        state, folder = top / "state", top / "step"
        folder.mkdir()
        (state / "values").mkdir(parents=True)
        for name, data in values.items():
            _write(state / "values" / name, data)
        (top / "plugins.json").write_bytes(sources)
        told = {"run": run, "state_dir": str(state), "root": str(top), "sources": str(top / "plugins.json")}
        (folder / "order.json").write_bytes(orjson.dumps({**told, "tied": True}))
        said = _keeper(token, folder, run["run"])
        if not (folder / "result.json").exists():
            raise RuntimeError(f"the step's process ended without a result: {said}")
        ended = orjson.loads((folder / "result.json").read_bytes())
        return pack({"ended": ended, "start": top.name}, dict(_made(state, set(values))))
    finally:
        shutil.rmtree(top, ignore_errors=True)


def _keeper(token: str, folder: Path, run_id: int) -> str:
    """It ends with this process: its standard input does."""
    command = [sys.executable, "-P", "-m", "freshet.host.detached", str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        _running[token] = _Running(process, folder.parent, run_id)
        try:
            said = process.stderr.read() if process.stderr is not None else b""
            process.wait()
        finally:
            del _running[token]
    return said[-2000:].decode("utf-8", "replace")


def _made(state: Path, given: set[str]) -> Iterator[tuple[str, bytes]]:
    for path in sorted(state.rglob("*")):
        name = path.relative_to(state).as_posix()
        if path.is_file() and name.removeprefix("values/") not in given:
            yield name, path.read_bytes()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def said_since(asked: dict[str, Said]) -> dict[str, tuple[str, dict[str, bytes]]]:
    """Of the steps that this worker runs, by token: the start, and whole lines of its files (by their paths below the
    state directory) behind what has been heard."""
    found: dict[str, tuple[str, dict[str, bytes]]] = {}
    for token, (start, heard) in asked.items():
        running = _running.get(token)
        if running is not None:
            heard = heard if start == running.top.name else {}
            state = running.top / "state"
            lines = ((path.relative_to(state).as_posix(), path) for path in _lines(state, running.run_id))
            pieces = ((name, _piece(path, heard.get(name, 0))) for name, path in lines)
            found[token] = running.top.name, {name: data for name, data in pieces if data}
    return found


def _lines(state: Path, run_id: int) -> list[Path]:
    return sorted((state / "runs" / str(run_id)).glob("*" + _LINES))


def _piece(path: Path, at: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        data = file.read(_PIECE)
    return data[: data.rfind(b"\n") + 1]


def tell_steps(tokens: list[str], said: Cancel | CancelItem | None) -> bool:
    """Tell these steps something, or without a word that they are ended; False where this worker runs none of them, or
    they do not listen yet."""
    running = [_running[token] for token in tokens if token in _running]
    return any([_told(one, said) for one in running])


def _told(running: _Running, said: Cancel | CancelItem | None) -> bool:
    if said is not None and tell(running.top / "step", said):
        return True
    if said is None:
        with suppress(ProcessLookupError):
            os.kill(running.process.pid, signal.SIGTERM)
    return said is None
