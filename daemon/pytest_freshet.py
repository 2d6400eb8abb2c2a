"""Fixtures for tests of plugins, found by pytest wherever Freshet is installed.

Outside of the package: pytest imports this at each start, also for tests that have nothing to do with Freshet, so it
brings nothing of Freshet along before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

    from freshet.testing import Ticked, VirtualEngine

__all__ = ["freshet_contract", "freshet_engine", "freshet_plugin", "freshet_settings", "freshet_tick"]


@pytest.fixture(scope="session")
def freshet_plugin() -> Callable[[str | Path], ModuleType]:
    """`freshet_plugin("plugins/orders.py").landing`: see `freshet.testing.plugin`."""
    from freshet.testing import plugin

    return plugin


@pytest.fixture(scope="session")
def freshet_tick() -> Callable[..., Ticked]:
    """`freshet_tick(sensor, cursor)`: see `freshet.testing.tick`."""
    from freshet.testing import tick

    return tick


@pytest.fixture(scope="session")
def freshet_contract() -> Callable[..., Ticked]:
    """`freshet_contract(sensor)`: see `freshet.testing.assert_sensor_contract`."""
    from freshet.testing import assert_sensor_contract

    return assert_sensor_contract


@pytest.fixture
def freshet_engine() -> Generator[Callable[..., VirtualEngine]]:
    """`freshet_engine("plugins/orders.py")`: an engine in virtual time, which ends with the test; takes what
    `freshet.testing.engine` takes."""
    from freshet.testing import engine

    with ExitStack() as stack:

        def begin(plugin: Any, **options: Any) -> VirtualEngine:
            return stack.enter_context(engine(plugin, **options))

        yield begin


@pytest.fixture
def freshet_settings() -> Generator[Callable[..., None]]:
    """`freshet_settings(orders={"bucket": "test"})`: until the end of the test, what `settings("orders")` answers; see
    `freshet.testing.with_settings`."""
    from freshet.testing import with_settings

    with ExitStack() as stack:

        def give(**tables: Any) -> None:
            stack.enter_context(with_settings(**tables))

        yield give
