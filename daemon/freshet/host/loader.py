"""Loads the plugins: every file is tried, every error names its file and line, and no error of a plugin ends the host.

A thread that a plugin starts while it loads makes forking unsafe: the child would have its locks and not the thread
that opens them. So threads are counted after each file, and the plugin that started the first one is named.
"""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import TracebackType

from freshet.definitions.source import collecting
from freshet.errors import DefinitionError, FreshetError
from freshet.host.messages import ProblemData
from freshet.host.misspelt import misspelt
from freshet.host.plugin_settings import given, unasked, use
from freshet.host.process import thread_count
from freshet.host.sources import PACKAGE, PluginFinder, Sources
from freshet.masking import masked

__all__ = ["QUIET_THREADS", "Loaded", "load", "problem_of", "quiet_threads"]

QUIET_THREADS: Mapping[str, str] = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""What keeps numpy and pyarrow (which pandas loads) from starting a native thread on import. They read it then and not
later, so it holds for the processes forked afterwards, whatever their environment says."""


@dataclass
class Loaded:
    """What came of loading: the definitions collected in order, and what went wrong."""

    found: list[object] = field(default_factory=list[object])
    problems: list[ProblemData] = field(default_factory=list[ProblemData])
    warnings: list[ProblemData] = field(default_factory=list[ProblemData])
    threads: int = 1


@contextmanager
def quiet_threads() -> Generator[None]:
    """`QUIET_THREADS` in the environment while the block runs; afterwards what was there before."""
    before = {name: os.environ.get(name) for name in QUIET_THREADS}
    os.environ.update(QUIET_THREADS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def load(sources: Sources, *, announce: Callable[[str], None] = lambda file: None, quiet: bool = True) -> Loaded:
    """Execute every plugin of the snapshot. `announce` is told each file before it runs; `quiet`: with
    `quiet_threads`, for a process that is to be forked."""
    loaded = Loaded()
    PluginFinder(sources).install()
    use(sources.tables)
    threads = thread_count()
    with quiet_threads() if quiet else nullcontext(), collecting() as found:
        for module, name in sources.plugins.items():
            file = sources.path(name)
            announce(file)
            if name in sources.unreadable:
                loaded.problems.append(_unreadable(file, sources.unreadable[name]))
                continue
            problem = _execute(module, file)
            if problem is not None:
                loaded.problems.append(problem)
            now = thread_count()
            if now > threads:
                loaded.warnings.append(_started_threads(file, now - threads))
            threads = max(threads, now)
    loaded.found = list(dict.fromkeys(found))
    if not loaded.problems:
        loaded.warnings.extend(map(_unasked, unasked()))
    loaded.threads = thread_count()
    return loaded


def _execute(module: str, file: str) -> ProblemData | None:
    try:
        importlib.import_module(f"{PACKAGE}.{module}")
    except BaseException as error:  # sys.exit and KeyboardInterrupt of a plugin are that plugin's errors too
        return problem_of(error, file)
    return None


def problem_of(error: BaseException, file: str) -> ProblemData:
    """An error of a plugin file: where it stands, what it says, and what to do."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return ProblemData(
            message=f"syntax error: {error.msg}",
            hint=f"the line reads: {error.text.strip()}" if error.text else "correct the line named",
            file=error.filename,
            line=error.lineno,
            traceback="",
        )
    line = _deepest_line(error.__traceback__, file)
    message, hint, place = f"{type(error).__name__}: {error}".removesuffix(": "), "", file
    if isinstance(error, FreshetError):
        message, hint = error.message, error.hint
        if isinstance(error, DefinitionError) and error.file is not None:
            place, line = error.file, error.line
    elif isinstance(error, SystemExit):
        message = f"the plugin called sys.exit({error.code!r}) while it was loading"
        hint = 'put what is to run as a program under `if __name__ == "__main__":`'
    elif isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"install {error.name.partition('.')[0]!r} for the Python that runs Freshet, or correct the name"
    elif (found := misspelt(error, file)) is not None:
        message, hint = found
    said, remedy, trace = masked(message), masked(hint), masked(_trimmed(error))
    return ProblemData(message=said, hint=remedy, file=place, line=line, traceback=trace)


def _deepest_line(trace: TracebackType | None, file: str) -> int | None:
    frames = [line for frame, line in traceback.walk_tb(trace) if frame.f_code.co_filename == file]
    return frames[-1] if frames else None


def _trimmed(error: BaseException) -> str:
    """From the first frame of the plugin on: what imports it is not the user's concern."""
    trace = error.__traceback__
    own = (os.path.dirname(os.path.dirname(__file__)), "<frozen importlib")  # noqa: PTH120
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith((*own, importlib.__file__)):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _unreadable(file: str, reason: str) -> ProblemData:
    return ProblemData(
        message=f"cannot be read: {reason}", hint="check the file's permissions", file=file, line=None, traceback=""
    )


def _unasked(name: str) -> ProblemData:
    file, _, line = given().place(name).rpartition(":")
    return ProblemData(
        message=f"[plugins.{name}]: no plugin has asked for it while it was loaded",
        hint=f'call settings("{name}", Model) at the top of the plugin that it is meant for, or correct the name',
        file=file or None,
        line=int(line) if line.isdigit() else None,
        traceback="",
    )


def _started_threads(file: str, count: int) -> ProblemData:
    return ProblemData(
        message=f"loading this plugin starts {count} thread{'s' if count > 1 else ''}: "
        "workers are new processes instead of forks, which start more slowly and share no memory",
        hint="start threads, pools and clients inside the functions that use them",
        file=file,
        line=None,
        traceback="",
    )
