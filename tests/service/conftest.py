"""What the tests of the service share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.manager import Ears, ears_in
from tests.support.warned import let_refused_sockets_be


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Daemons end while somebody speaks to them."""
    let_refused_sockets_be(items, Path(__file__).parent)


@pytest.fixture
def ears(tmp_path: Path) -> Iterator[Ears]:
    """Who hears what daemons tell their service manager."""
    with ears_in(tmp_path) as made:
        yield made
