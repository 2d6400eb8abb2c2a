"""A site for each test, gone at its end; its log is shown when the test fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.crash.scenario import River
from tests.support.daemon import site_at
from tests.support.river import PLUGIN
from tests.support.warned import let_refused_sockets_be


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Daemons end while somebody speaks to them."""
    let_refused_sockets_be(items, Path(__file__).parent)


@pytest.fixture
def river(tmp_path: Path) -> Iterator[River]:
    """The river's plugin on an empty state."""
    with site_at(tmp_path / "site", plugins={"river.py": PLUGIN}, grace="200ms") as site:
        yield River(site)
