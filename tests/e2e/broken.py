"""A daemon with a bug: `python -m tests.e2e.broken MODULE:CLASS.METHOD --config FILE`.

The method raises `ZeroDivisionError` once a file `break` lies in the working directory.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from freshet.configuration import load_settings
from freshet.engine.daemon import run_daemon


def break_it(place: str) -> None:
    """Wrap the method."""
    module, _, name = place.partition(":")
    owner: Any = importlib.import_module(module)
    *path, method = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    sound = getattr(owner, method)

    def broken(*args: Any, **kwargs: Any) -> Any:
        if Path("break").exists():
            raise ZeroDivisionError("a bug of ours")
        return sound(*args, **kwargs)

    setattr(owner, method, broken)


def main() -> int:
    """As `freshet run`, with the bug."""
    place, _, config = sys.argv[1:]
    break_it(place)
    return run_daemon(load_settings(Path(config)))


if __name__ == "__main__":
    sys.exit(main())
