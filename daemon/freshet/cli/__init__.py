"""The `freshet` command: a client of the daemon's API, never of its store. It imports late, to answer soon."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and end the process: 0 done, 1 failed, 2 wrong usage."""
    from freshet.cli.app import run

    sys.exit(run(sys.argv[1:]))
