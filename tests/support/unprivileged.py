"""Commands run as a user who is not root, and a folder that is his."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["NOBODY", "as_nobody", "his_folder"]

NOBODY = 65534
_ROOT = os.geteuid() == 0


def as_nobody(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, within: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; as whoever runs the tests, where that is not root. Skips where root cannot be laid down."""
    own = list(argv)
    if _ROOT:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("setpriv (util-linux) is not installed here, and the tests run as root")
        own = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs", *own]
    who = subprocess.run([*own[: len(own) - len(argv)], "id", "-u"], capture_output=True, text=True, check=True)
    assert who.stdout.strip() != "0"
    return subprocess.run(own, env=dict(env), cwd=cwd, capture_output=True, text=True, timeout=within, check=False)


@contextmanager
def his_folder() -> Generator[Path]:
    """A folder of his, reachable for him."""
    folder = Path(tempfile.mkdtemp(prefix="freshet-nobody-"))
    try:
        if _ROOT:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder)
