"""What is said of a host that came to no report."""

from __future__ import annotations

from freshet.errors import LoadError

__all__ = ["ended_while_loading", "too_slow"]


def ended_while_loading(file: str, how: str, said: str) -> LoadError:
    """It ended, with these last words. `file`: what it was loading; empty for none."""
    where = f" while loading {file}" if file else " before the plugins were loaded"
    message = f"the code host ended{where}: {how}" + (f"\n{said}" if said else "")
    return LoadError(message, file=file or None, traceback=said)


def too_slow(file: str, seconds: float, stack: str) -> LoadError:
    """It took longer than so many seconds, and stood there."""
    return LoadError(
        f"{file or 'the plugins'} did not load within {seconds:g} s\n{stack}",
        hint="what takes long belongs inside the functions of a plugin, not at its top",
        file=file or None,
        traceback=stack,
    )
