"""What plugin authors test with: `from freshet.testing import tick`."""

from __future__ import annotations

from freshet.testing.contract import assert_imports_quietly, assert_sensor_contract
from freshet.testing.inline import InlineHost
from freshet.testing.ticking import Seen, Ticked, tick

__all__ = ["InlineHost", "Seen", "Ticked", "assert_imports_quietly", "assert_sensor_contract", "tick"]
