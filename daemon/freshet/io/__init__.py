"""How values are kept between steps: I/O managers and durable files."""

from __future__ import annotations

from freshet.io.managers import BUILT_IN, Managers
from freshet.io.registry import ValueRef, read_value, write_value
from freshet.io.values import Values

__all__ = ["BUILT_IN", "Managers", "ValueRef", "Values", "read_value", "write_value"]
