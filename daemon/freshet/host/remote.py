"""A step on another machine: what a Dask worker calls. Bytes in, bytes out; nothing of ours is pickled.

The step runs in a process of its own below the worker, as a detached one does, in a folder that is thrown away: what
lies there at the end, journal, artifacts and value, goes back with the result.
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
from pathlib import Path
from typing import Any

import orjson

__all__ = ["end_steps", "keep", "pack", "run_step", "unpack"]

_LENGTH = struct.Struct(">Q")
_running: dict[str, subprocess.Popen[bytes]] = {}


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
    ended with all that it wrote. An exception of this function is never the step's."""
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
        said = _keeper(token, folder)
        if not (folder / "result.json").exists():
            raise RuntimeError(f"the step's process ended without a result: {said}")
        ended = orjson.loads((folder / "result.json").read_bytes())
        return pack(ended, dict(_made(state, set(values))))
    finally:
        shutil.rmtree(top, ignore_errors=True)


def _keeper(token: str, folder: Path) -> str:
    """It ends with this process: its standard input does."""
    command = [sys.executable, "-P", "-m", "freshet.host.detached", str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        _running[token] = process
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


def end_steps(tokens: list[str]) -> None:
    """Cancel those of these steps that this worker runs."""
    for token in tokens:
        process = _running.get(token)
        if process is not None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
