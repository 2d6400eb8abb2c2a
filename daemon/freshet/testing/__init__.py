"""What plugin authors test with: `from freshet.testing import engine, tick`."""

from __future__ import annotations

from freshet.testing.contract import assert_imports_quietly, assert_sensor_contract
from freshet.testing.inline import InlineHost
from freshet.testing.loading import plugin, with_settings
from freshet.testing.ticking import Seen, Ticked, tick
from freshet.testing.virtual import VirtualEngine, engine

__all__ = [
    "InlineHost",
    "Seen",
    "Ticked",
    "VirtualEngine",
    "assert_imports_quietly",
    "assert_sensor_contract",
    "engine",
    "plugin",
    "tick",
    "with_settings",
]
