"""A program as a step, for `Command([...])`: what it is started with, and what it may report while it runs.

It is started without a shell, its output goes to the journal, and exit status 0 is success. In its environment:

    FRESHET_RUN, FRESHET_ATTEMPT, FRESHET_STEP           numbers, and the name of the asset or job
    FRESHET_PARTITION, FRESHET_PARTITION_METADATA        the key, and JSON; only where the step has a partition
    FRESHET_PARAMS, FRESHET_TAGS                         JSON objects
    FRESHET_INPUTS                                       a file; for each upstream value a line of JSON with `asset`,
                                                         `partition`, `path`, `io`, `size` and `digest`
    FRESHET_REPORT                                       3: the descriptor on which it may report

A report is a line of JSON, an object with any of these:

    {"metadata": {"rows": 12}}                           as ctx.metadata(rows=12)
    {"progress": {"done": 3, "total": 10}}               as ctx.progress(3, 10)
    {"log": {"level": "warning", "message": "...", "fields": {}}}
    {"data_version": "2026-01-01"}                       as ctx.data_version(...)
    {"value": [1, 2]}                                    what the asset's function would return
    {"value_path": "out.parquet"}                        the same, read from a file in the format of the asset's `io`,
                                                         or by its ending: .json, .txt, .parquet, else bytes
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from freshet.definitions.argv import fill_arguments
from freshet.definitions.executor import Command
from freshet.errors import FreshetError, ValueFormatError
from freshet.host.messages import Run
from freshet.host.process import describe_end
from freshet.host.step_context import RunningAsset, RunningJob

__all__ = ["CommandFailed", "run_command"]

_REPORT = 3
_CHUNK = 1 << 16
_LINE_MAX = 16 << 20
_FORMATS = {".json": "json", ".txt": "text", ".parquet": "parquet"}
Decode = Callable[[str, bytes], Any]


class CommandFailed(FreshetError):
    """A program could not be started, or did not end with exit status 0."""


def run_command(
    spec: Command, order: Run, context: RunningJob, *, values_dir: Path, io: str | None = None, decode: Decode
) -> Any:
    """Run the program to its end and return the value that it reported, None without one. `decode`: bytes, by the name
    of an I/O manager.

    Raises `CommandFailed`, `Conflict` where an argument cannot be filled, `ValueFormatError` for a value that cannot be
    read.
    """
    what = f"{order['kind']} {order['step']}"
    argv = fill_arguments(spec.argv, _scope(order), what)
    inputs = _list_inputs(order, values_dir) if order["kind"] == "asset" else None
    reports = _Reports(context)
    context.say_started()
    try:
        status = _run(argv, _environment(order, inputs), reports, what)
    finally:
        if inputs is not None:
            inputs.unlink(missing_ok=True)
    if status != 0:
        raise CommandFailed(
            f"{what}: {argv[0]} ended with {describe_end(status)}", hint="what it said is in the run's journal"
        )
    return reports.value(io, decode)


def _scope(order: Run) -> dict[str, Any]:
    scope: dict[str, Any] = {"run_id": order["run"], "attempt": order["attempt"], "name": order["step"]}
    scope |= {"params": order["params"], "tags": order["tags"]}
    if order["key"] is not None:
        scope["partition"] = {"key": order["key"], "metadata": order["partition_metadata"]}
    return scope


def _environment(order: Run, inputs: Path | None) -> dict[str, str]:
    found = {
        **os.environ,
        "FRESHET_RUN": str(order["run"]),
        "FRESHET_ATTEMPT": str(order["attempt"]),
        "FRESHET_STEP": order["step"],
        "FRESHET_PARAMS": orjson.dumps(order["params"]).decode(),
        "FRESHET_TAGS": orjson.dumps(order["tags"]).decode(),
        "FRESHET_REPORT": str(_REPORT),
    }
    if order["key"] is not None:
        found["FRESHET_PARTITION"] = order["key"]
        found["FRESHET_PARTITION_METADATA"] = orjson.dumps(order["partition_metadata"]).decode()
    if inputs is not None:
        found["FRESHET_INPUTS"] = str(inputs)
    return found


def _list_inputs(order: Run, values_dir: Path) -> Path:
    path = (
        values_dir.parent / "runs" / str(order["run"]) / f"command-inputs-{order['position']}-{order['attempt']}.jsonl"
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("wb") as file:
        for asset, key, at, io, size, digest in _inputs(order):
            place = at if ":" in io else str(values_dir / at)
            told = {"asset": asset, "partition": key, "path": place, "io": io, "size": size, "digest": digest}
            file.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
    return path


def _inputs(order: Run) -> Iterator[tuple[str, str | None, str, str, int, str]]:
    for asset, pairs in order["inputs"].items():
        for key, ref in pairs:
            yield asset, key, ref["path"], ref["io"], ref["size"], ref["digest"]
    if (listed := order["inputs_file"]) is not None:
        with Path(listed["path"]).open("rb") as lines:
            for asset, (at, count) in listed["sections"].items():
                lines.seek(at)
                for _ in range(count):
                    key, path, io, size, digest = orjson.loads(lines.readline())
                    yield asset, key, path, io, size, digest


# --- the process ---------------------------------------------------------------------------------------------


def _run(argv: list[str], environment: dict[str, str], reports: _Reports, what: str) -> int:
    """The status of the program, as `os.waitpid` gives it.

    SIGTERM, which comes to all processes of a step, is the program's to obey: this one waits for its end.
    """
    reading, writing = os.pipe()
    try:
        actions: list[Any] = [(os.POSIX_SPAWN_DUP2, writing, _REPORT)]
        defaults = (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)
        pid = os.posix_spawnp(argv[0], argv, environment, file_actions=actions, setsigdef=defaults)
    except (OSError, ValueError) as error:
        os.close(reading)
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandFailed(
            f"{what}: {argv[0]} cannot be started: {said}",
            hint="give the program's path, or put it on the daemon's PATH",
        ) from None
    finally:
        os.close(writing)
    try:
        with _deaf():
            return _follow(pid, reading, reports)
    finally:
        os.close(reading)


@contextmanager
def _deaf() -> Generator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _follow(pid: int, reading: int, reports: _Reports) -> int:
    """Take its reports until it has ended: what it has left running may hold the descriptor for longer."""
    os.set_blocking(reading, False)
    pidfd = os.pidfd_open(pid)
    waiting = select.poll()
    waiting.register(reading, select.POLLIN)
    waiting.register(pidfd, select.POLLIN)
    try:
        while pidfd not in (ready := [fd for fd, _ in waiting.poll()]):
            if not reports.read(reading):
                waiting.unregister(ready[0])
        while reports.read(reading) and select.select([reading], [], [], 0)[0]:
            pass
        return os.waitpid(pid, 0)[1]
    finally:
        os.close(pidfd)


# --- what it reports -----------------------------------------------------------------------------------------


class _Reports:
    """Lines of JSON, as they come. One that is wrong is a warning in the journal and nothing more."""

    def __init__(self, context: RunningJob) -> None:
        self._context = context
        self._rest = b""
        self._value: Any = None
        self._path: str | None = None

    def read(self, fd: int) -> bool:
        """Take what is there; False at the end."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return True
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data and self._rest:
            lines, self._rest = [self._rest], b""
        if len(self._rest) > _LINE_MAX:
            self._wrong(self._rest, f"longer than {_LINE_MAX >> 20} MiB")
            self._rest = b""
        for line in lines:
            if line.strip():
                self._take(line)
        return bool(data)

    def _take(self, line: bytes) -> None:
        try:
            report = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            return self._wrong(line, f"no JSON: {error}")
        if not isinstance(report, dict):
            return self._wrong(line, "no object")
        told: dict[str, Any] = {**report}
        for name, content in told.items():
            try:
                self._report(name, content)
            except (TypeError, KeyError, ValueError, AttributeError, FreshetError) as error:
                self._wrong(line, f"{name}: {error}")

    def _report(self, name: str, content: Any) -> None:
        context = self._context
        match name:
            case "metadata":
                context.metadata(**content)
            case "progress":
                context.progress(float(content["done"]), None if content.get("total") is None else content["total"])
            case "log":
                self._log(content.get("level", "info"), str(content["message"]), content.get("fields", {}))
            case "data_version" if isinstance(context, RunningAsset):
                context.data_version(content)
            case "value":
                self._value, self._path = content, None
            case "value_path":
                self._path = str(content)
            case _:
                raise ValueError("there is no such report")

    def _log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        log = self._context.log
        say = {"debug": log.debug, "warning": log.warning, "error": log.error}.get(level, log.info)
        say(message, **fields)

    def _wrong(self, line: bytes, why: str) -> None:
        shown = line[:200].decode("utf-8", "replace")
        self._context.log.warning("a report of the program is left out", why=why, line=shown)

    def value(self, io: str | None, decode: Decode) -> Any:
        """What it reported as the value."""
        if self._path is None:
            return self._value
        name = (io or "").rpartition(":")[2] or _FORMATS.get(Path(self._path).suffix, "bytes")
        try:
            return decode(name, Path(self._path).read_bytes())
        except OSError as error:
            raise ValueFormatError(
                f"the value that the program reported cannot be read: {self._path}: {error.strerror}",
                hint="report the path of a file that is there when the program ends",
            ) from None
