"""What plugin authors test with: `from freshet.testing import tick`."""

from __future__ import annotations

from freshet.testing.inline import InlineHost
from freshet.testing.ticking import Seen, Ticked, tick

__all__ = ["InlineHost", "Seen", "Ticked", "tick"]
