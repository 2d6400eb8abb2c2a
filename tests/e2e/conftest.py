"""Sites for tests, gone at their end; their logs are shown when a test fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.daemon import Site, site_at
from tests.support.warned import let_refused_sockets_be


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Daemons end while somebody speaks to them."""
    let_refused_sockets_be(items, Path(__file__).parent)


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """`make_site(plugin, **options)`: a site with that source as its only plugin; options as of `Site`."""
    with ExitStack() as stack:

        def make(plugin: str, *, folder: str = "site", **options: Any) -> Site:
            return stack.enter_context(site_at(tmp_path / folder, plugins={"plugin.py": plugin}, **options))

        yield make
