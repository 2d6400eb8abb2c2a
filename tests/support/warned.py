"""What tests that kill daemons may be warned of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

__all__ = ["let_refused_sockets_be"]


def let_refused_sockets_be(items: Iterable[pytest.Item], folder: Path) -> None:
    """For the tests below `folder`: httpx leaves a socket whose connection was refused to the garbage collector."""
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))
